package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager/types"

	"sesame/internal/config"
	"sesame/internal/obs"
	"sesame/internal/server"
)

type demoCmd struct {
	Listen string `default:"127.0.0.1:0" help:"Address to listen on; port 0 is any that is free."`
	Exit   bool   `env:"DEMO_EXIT" help:"End when the demo has run, instead of leaving the server up."`
	Rows   int    `default:"200000" help:"Entries to import (${default})."`
}

// Run starts a server, runs an import through it, and leaves it up until Ctrl-C.
func (c demoCmd) Run(o output) (err error) {
	if c.Rows < 100 {
		return usageError{fmt.Errorf("--rows must be at least 100")}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "sesame-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	settings := config.Server{
		Listen: c.Listen, DataDir: filepath.Join(dir, "data"), Region: "us-east-1", AccountID: "000000000000", Quotas: "sesame",
		APIRate: -1, MaxUpload: 5 << 30, ImportWorkers: 2, ImportMemory: 128 << 20, ImportKeep: 30, ExportWorkers: 2, ExportKeep: 30,
		Retention: 400, EventMemory: 512 << 20,
	}
	if err := settings.Check(); err != nil {
		return usageError{err}
	}
	log, err := obs.NewLog(o.err, "warn", "text")
	if err != nil {
		return err
	}
	s, err := startDemo(ctx, settings, log)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		if stopped := s.Stop(ctx); err == nil {
			err = stopped
		}
	}()
	d := demo{out: o.out, url: s.URL, root: s.NewRoot, file: filepath.Join(dir, "blocked.csv"), rows: c.Rows}
	if err := d.run(ctx); err != nil {
		if ctx.Err() != nil {
			return errors.New("stopped before the demo was done; its data is removed")
		}
		return err
	}
	if c.Exit {
		return nil
	}
	fmt.Fprintf(o.out, `
The server stays up at %s until Ctrl-C. To talk to it from another terminal:

  export AWS_ENDPOINT_URL=%s AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
  export AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s
  aws mailmanager list-address-lists
  %s lists check --list blocked reader7@mail7.example.com
`, s.URL, s.URL, s.NewRoot.AccessKeyID, s.NewRoot.SecretAccessKey, os.Args[0])
	select {
	case <-ctx.Done():
		fmt.Fprintln(o.out, "\nStopped; the demo's data is removed.")
		return nil
	case err := <-s.Served():
		return err
	}
}

// startDemo starts a server whose root key is a new one, whatever the environment says.
func startDemo(ctx context.Context, c config.Server, log *slog.Logger) (*server.Server, error) {
	for _, name := range []string{"SESAME_ROOT_ACCESS_KEY_ID", "SESAME_ROOT_SECRET_ACCESS_KEY"} {
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	return server.Start(ctx, c, log)
}

// demo runs the main job as any client would.
type demo struct {
	out  io.Writer
	url  string
	root config.Root
	file string
	rows int
}

func (d demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

func (d demo) run(ctx context.Context) error {
	cfg := aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(d.url),
		Credentials: credentials.NewStaticCredentialsProvider(d.root.AccessKeyID, d.root.SecretAccessKey, ""),
	}
	mm := mailmanager.NewFromConfig(cfg)
	d.say("1. A server runs at %s, on a temporary folder.", d.url)

	size, err := d.writeFile()
	if err != nil {
		return err
	}
	d.say("2. A file of entries: %d addresses, 4 wildcards and domains, 1 duplicate, 2 bad lines; %.1f MB.", d.rows, float64(size)/1e6)

	list, err := mm.CreateAddressList(ctx, &mailmanager.CreateAddressListInput{AddressListName: aws.String("blocked")})
	if err != nil {
		return err
	}
	d.say("3. CreateAddressList: %s", *list.AddressListId)
	job, err := mm.CreateAddressListImportJob(ctx, &mailmanager.CreateAddressListImportJobInput{
		AddressListId: list.AddressListId, Name: aws.String("first"),
		ImportDataFormat: &types.ImportDataFormat{ImportDataType: types.ImportDataTypeCsv},
	})
	if err != nil {
		return err
	}
	d.say("4. CreateAddressListImportJob: %s, and a pre-signed URL.", *job.JobId)
	file, err := openToUpload(d.file)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := upload(ctx, d.out, httpClient(cfg), file, *job.PreSignedUrl); err != nil {
		return err
	}
	d.say("5. The file is uploaded with a plain HTTP PUT.")

	start := time.Now()
	if _, err := mm.StartAddressListImportJob(ctx, &mailmanager.StartAddressListImportJobInput{JobId: job.JobId}); err != nil {
		return err
	}
	done, err := watch(ctx, d.out, cfg, *job.JobId)
	if err != nil {
		return err
	}
	took := time.Since(start)
	d.say("6. StartAddressListImportJob: %s; %d lines imported (the duplicate counts), %d failed, in %.2f s (%.0f lines a second).",
		done.Status, done.Imported, done.Invalid, took.Seconds(), float64(done.Imported)/took.Seconds())
	if done.Status != "COMPLETED" {
		return fmt.Errorf("the import ended as %s: %s", done.Status, done.Error)
	}
	for _, reason := range done.InvalidByReason {
		d.say("     %d %s: %s", reason.Lines, reason.Code, reason.Reason)
	}

	member, err := mm.GetMemberOfAddressList(ctx, &mailmanager.GetMemberOfAddressListInput{
		AddressListId: list.AddressListId, Address: aws.String("READER7@mail7.example.com")})
	if err != nil {
		return err
	}
	d.say("7. GetMemberOfAddressList READER7@mail7.example.com: it is a member, as %s.", *member.Address)

	var answer matchAnswer
	asked := []string{"reader7@mail7.example.com", "sales+june@shop.example", "someone@deep.below.bulk.example", "anyone@blocked.example", "friend@good.example"}
	if err := sesame(ctx, cfg, "MatchAddressList", map[string]any{"AddressListId": list.AddressListId, "Addresses": asked}, &answer); err != nil {
		return err
	}
	d.say("8. Who is in the list, as incoming mail would ask (wildcards applied):")
	for _, m := range answer.Matches {
		d.say("     %s", m)
	}
	return d.mail(ctx, cfg)
}

// writeFile writes the file to import and gives its size in bytes.
func (d demo) writeFile() (size int64, err error) {
	f, err := os.Create(d.file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, "address")
	for i := range d.rows {
		fmt.Fprintf(w, "Reader%d@mail%d.example.com\n", i, i%1000)
	}
	for _, line := range []string{"sales*@shop.example", "*.bulk.example", "blocked.example", "*@all.example", // wildcards and domains
		"READER1@MAIL1.example.com", // a duplicate
		"no address at all", "two@@signs.example"} {
		fmt.Fprintln(w, line)
	}
	if err := w.Flush(); err != nil {
		return 0, err
	}
	return f.Seek(0, io.SeekCurrent)
}
