package test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"sesame/internal/keyfile"
	"sesame/internal/objects"
	"sesame/internal/sigv4"
)

// exportKiller is TestKillExports' run: the server, its jobs, and where the kills
// fell.
type exportKiller struct {
	*testing.T
	*server
	door    *objects.Door // signs as the server does, also what it does not offer
	http    *http.Client
	random  *rand.Rand
	orders  []*exportOrder
	workers int        // of the server that runs
	mayBe   *exportJob // was asked for and not acknowledged; "" is its id

	killed, terminated, cancelled map[string]int // by the phase they fell into
	latencies                     []time.Duration
	slowestAgain                  time.Duration

	mu               sync.Mutex // guards what the watcher sees
	jobs             []*exportJob
	offered, refused int // files that were downloaded, and such as are not offered
}

// exportOrder is what jobs are made of, and what an undisturbed one gives.
type exportOrder struct {
	name      string
	key       aws.Credentials
	in        map[string]any
	split     int
	files     []offeredFile
	processed int64
	took      time.Duration
}

// exportJob is one job, and what is known of it.
type exportJob struct {
	id    string
	order *exportOrder
	left  []string // its objects that were there when the server died
	over  bool     // it had ended when the server was started last

	mu     sync.Mutex
	ended  string // the status it was seen or acknowledged to have ended with
	cancel bool   // somebody asked to cancel it
}

// offeredReport is GetExportReport's answer.
type offeredReport struct {
	ExportSourceType, JobStatus       string
	ShareDone, CreatedTimestamp       float64
	ProcessedRecords, ExportedRecords int64
	Files                             []offeredFile
	Error                             *string
}

type offeredFile struct {
	Name, Url, ChecksumCrc32c string
	Size, Rows                int64
	digest                    [sha256.Size]byte
}

func (j *exportJob) String() string { return "job " + j.id + " (" + j.order.name + ")" }

// state is the status that the job is known to have ended with, "" before.
func (j *exportJob) state() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ended
}

// is notes with which status the job has ended, and gives what was noted first.
func (j *exportJob) is(status string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ended == "" {
		j.ended = status
	}
	return j.ended
}

// mayCancel notes that from now on the job may be found cancelled.
func (j *exportJob) mayCancel() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cancel = true
}

// logged is what the log has when the server has said that of the job.
func (j *exportJob) logged(message string) string {
	return `"msg":"` + message + `","job":"` + j.id + `"`
}

const exportedFrom, exportedTo = "2026-11-01T00:00:00Z", "2026-11-11T00:00:00Z"

// newExportKiller starts a server with made-up mail of two accounts, and has each
// export done undisturbed.
func newExportKiller(t *testing.T, records int) *exportKiller {
	t.Helper()
	e := startWithMail(t, records, "--api-rate", "0")
	k := &exportKiller{T: t, server: e.server, random: rand.New(rand.NewPCG(seed(t, "SESAME_KILL_SEED"), 6)), workers: 2,
		http:   &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}, // each server is new
		killed: map[string]int{}, terminated: map[string]int{}, cancelled: map[string]int{}}
	secret, err := keyfile.Open(filepath.Join(k.dir, "secret.key"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := url.Parse(k.url)
	if err != nil {
		t.Fatal(err)
	}
	k.door = &objects.Door{PublicURL: public, Region: "us-east-1",
		Credentials: sigv4.Credentials{AccessKeyID: "SESAME-OBJECTS", SecretAccessKey: hex.EncodeToString(secret.Derive("object URLs", 32))}}

	root := aws.Credentials{AccessKeyID: rootID, SecretAccessKey: rootSecret}
	other := k.newKey("111111111111", "other", "")
	file := filepath.Join(t.TempDir(), "other.jsonl")
	if out, err := k.sesame("generate", "events", "--count", strconv.Itoa(records/4), "--seed", "2", "--account", "111111111111", "--from", "2026-11-01", "--to", "2026-11-11", "--out", file); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ingest := exec.Command(binary, "ingest", file)
	ingest.Env = append(withoutAWS(os.Environ()), "SESAME_ENDPOINT="+k.url, "AWS_ACCESS_KEY_ID="+other.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+other.SecretAccessKey)
	if out, err := ingest.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	deliveries := map[string]any{"Include": map[string]any{"EventType": []string{"DELIVERY", "BOUNCE"}}, "Columns": []string{"messageid", "destination", "event_type", "event_timestamp", "tags"}}
	first := map[string]any{"MaxResults": records / 20, "Exclude": map[string]any{"Isp": []string{"Gmail"}}}
	counts := map[string]any{"Namespace": "VDM", "Dimensions": map[string]any{"ISP": []string{"*"}},
		"Metrics": []any{map[string]any{"Name": "SEND", "Aggregation": "VOLUME"}, map[string]any{"Name": "OPEN", "Aggregation": "RATE"}}}
	for _, o := range []struct {
		key                         aws.Credentials
		source, format, compression string
		split                       int
		more                        map[string]any
	}{
		{root, "MessageInsights", "CSV", "NONE", 0, nil},
		{root, "MessageInsights", "JSON", "GZIP", 0, nil},
		{root, "MessageInsights", "NDJSON", "ZSTD", records / 10, nil},
		{root, "MessageInsights", "PARQUET", "ZSTD", 0, nil},
		{root, "Events", "STRICT_CSV", "GZIP", records / 3, nil},
		{root, "Events", "NDJSON", "ZSTD", 0, nil},
		{root, "Events", "CSV", "NONE", records / 4, deliveries},
		{root, "Events", "PARQUET", "ZSTD", 0, nil},
		{root, "Metrics", "CSV", "NONE", 0, counts},
		{root, "Metrics", "PARQUET", "GZIP", 20, counts},
		{other, "Events", "NDJSON", "NONE", 0, nil},
		{other, "Events", "PARQUET", "GZIP", records / 10, nil},
		{other, "MessageInsights", "STRICT_CSV", "NONE", 0, first},
	} {
		source := map[string]any{"StartDate": exportedFrom, "EndDate": exportedTo}
		for name, value := range o.more {
			source[name] = value
		}
		destination := map[string]any{"DataFormat": o.format, "Compression": o.compression}
		if o.split > 0 {
			destination["RowsPerFile"] = o.split
		}
		order := &exportOrder{name: o.source + " as " + o.format + " " + o.compression, key: o.key, split: o.split,
			in: map[string]any{"ExportDataSource": map[string]any{o.source + "DataSource": source}, "ExportDestination": destination}}
		k.exportUndisturbed(order)
		k.orders = append(k.orders, order)
	}
	k.stop() // so that no start has to read the log of what came in
	k.checkErrors()
	k.server.log = nil
	k.restart()
	return k
}

// exportUndisturbed has an order done on a server that is left alone, and notes what
// comes of it.
func (k *exportKiller) exportUndisturbed(o *exportOrder) {
	k.Helper()
	j := &exportJob{order: o}
	begun := time.Now()
	if err := k.create(j); err != nil {
		k.Fatal(err)
	}
	var r *offeredReport
	k.until(j.String()+" ends", func() (ended bool) {
		var err error
		if r, err = k.reportOf(j); err != nil {
			k.Fatal(err)
		}
		return r.JobStatus != "PROCESSING"
	})
	o.took, o.processed = time.Since(begun), r.ProcessedRecords
	for _, f := range r.Files {
		status, text, got, err := k.download(f.Url)
		if err != nil || status != http.StatusOK || got.Size != f.Size || got.ChecksumCrc32c != f.ChecksumCrc32c {
			k.Fatalf("%s: %v, %d %s; offered is %+v, and there is %+v", j, err, status, text, f, got)
		}
		got.Name, got.Rows = f.Name, f.Rows
		o.files = append(o.files, got)
	}
	if r.JobStatus != "COMPLETED" || r.ExportedRecords == 0 || len(r.Files) == 0 || (o.split > 0) != (len(r.Files) > 1) {
		k.Fatalf("%s is no test: %+v", j, r)
	}
	k.add(j)
	j.is("COMPLETED")
	j.over = true
	k.Logf("%s: %d rows, %d files, %v", o.name, r.ExportedRecords, len(r.Files), o.took.Round(time.Millisecond))
}

// add makes a job known to the watcher.
func (k *exportKiller) add(j *exportJob) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.jobs = append(k.jobs, j)
}

func (k *exportKiller) all() []*exportJob {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.jobs)
}

// open gives the jobs that are not known to have ended, the oldest first.
func (k *exportKiller) open() []*exportJob {
	return slices.DeleteFunc(k.all(), func(j *exportJob) bool { return j.state() != "" })
}

func (k *exportKiller) count(n *int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	*n++
}

// create has the server make a job. Without an error it is acknowledged.
func (k *exportKiller) create(j *exportJob) error {
	var made struct{ JobId string }
	err := k.askAs(j.order.key, "CreateExportJob", j.order.in, &made)
	j.id = made.JobId
	return err
}

func (k *exportKiller) reportOf(j *exportJob) (r *offeredReport, err error) {
	err = k.askAs(j.order.key, "GetExportReport", map[string]any{"JobId": j.id}, &r)
	return r, err
}

// askCancel cancels a job. Without an error it is acknowledged, and done says whether
// the job is cancelled or had ended before.
func (k *exportKiller) askCancel(j *exportJob) (done bool, err error) {
	got, err := goSESClient{}.call(k.url, j.order.key, "CancelExportJob", map[string]any{"JobId": j.id})
	switch {
	case err != nil:
		return false, err
	case got.Error == "":
		if was := j.is("CANCELLED"); was != "CANCELLED" {
			k.Errorf("%s was %s and could be cancelled", j, was)
		}
		return true, nil
	case strings.Contains(got.Message, "<COMPLETED>"):
		j.is("COMPLETED")
		return false, nil
	}
	return false, fmt.Errorf("%+v", got)
}

// askAs calls one of Sesame's own operations.
func (k *exportKiller) askAs(key aws.Credentials, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequest(http.MethodPost, k.door.PublicURL.String()+"/sesame/v1/"+operation, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if err := sign(r, body, key); err != nil {
		return err
	}
	answer, err := k.http.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		err := fmt.Errorf("%s %s: %d %s", operation, body, answer.StatusCode, text)
		k.Error(err) // nothing of the connection's
		return err
	}
	return json.Unmarshal(text, out)
}

// download gets what is under a URL: got when it is there, and text when not.
func (k *exportKiller) download(url string) (status int, text string, got offeredFile, err error) {
	answer, err := k.http.Get(url)
	if err != nil {
		return 0, "", got, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		all, err := io.ReadAll(answer.Body)
		return answer.StatusCode, string(all), got, err
	}
	digest, sum := sha256.New(), crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if got.Size, err = io.Copy(io.MultiWriter(digest, sum), answer.Body); err != nil {
		return 0, "", got, err
	}
	digest.Sum(got.digest[:0])
	got.ChecksumCrc32c = base64.StdEncoding.EncodeToString(sum.Sum(nil))
	if told := answer.Header.Get("X-Amz-Checksum-Crc32c"); told != got.ChecksumCrc32c {
		err = errors.New("the checksum in the header is " + told)
		k.Errorf("%s: %v", url, err)
	}
	return answer.StatusCode, "", got, err
}

// checkList checks that each account's list has the jobs that were acknowledged, and
// no others but the one that may be.
func (k *exportKiller) checkList() {
	k.Helper()
	listed := map[string]string{}
	for _, o := range []*exportOrder{k.orders[0], k.orders[len(k.orders)-1]} {
		for in := (map[string]any{"PageSize": 100}); ; {
			before := map[string]string{}
			for _, j := range k.all() {
				before[j.id] = j.state()
			}
			page, err := goSESClient{}.call(k.url, o.key, "ListExportJobs", in)
			if err != nil || page.Error != "" {
				k.Fatalf("%+v, %v", page, err)
			}
			found, _ := page.Output["ExportJobs"].([]any)
			for _, one := range found {
				job := one.(map[string]any)
				id, status := job["JobId"].(string), job["JobStatus"].(string)
				if listed[id] != "" {
					k.Errorf("job %s is listed twice", id)
				}
				listed[id] = status
				known, ok := before[id]
				switch {
				case !ok && k.mayBe != nil && k.mayBe.order.key == o.key:
					k.mayBe.id = id
					k.add(k.mayBe)
					k.mayBe = nil
				case !ok:
					k.Errorf("nobody made job %s", id)
				case known != "" && known != status:
					k.Errorf("job %s was %s and is listed as %s", id, known, status)
				}
			}
			if page.Output["NextToken"] == nil {
				break
			}
			in["NextToken"] = page.Output["NextToken"]
		}
	}
	k.mayBe = nil
	for _, j := range k.all() {
		if listed[j.id] == "" {
			k.Errorf("%s is lost", j)
		}
	}
}

// said says whether the server has logged that of a job since it was started.
func (k *exportKiller) said(j *exportJob, message string) bool {
	return strings.Contains(k.log.String(), j.logged(message))
}

// letGo says whether the work on a job has ended since the server was started.
func (k *exportKiller) letGo(j *exportJob) bool {
	return k.said(j, "export ended") || k.said(j, "an export was cancelled or taken over") || k.said(j, "the end of an export could not be noted")
}

// fresh is how many whole objects a job has of the server that was started last.
func (k *exportKiller) fresh(j *exportJob) (n int) {
	k.Helper()
	for _, path := range k.glob("objects/whole/exports/" + j.id + "-*") {
		if !slices.Contains(j.left, path) {
			n++
		}
	}
	return n
}

// full says whether an object that is written is as long as a job's nth file.
func (k *exportKiller) full(j *exportJob, n int) bool {
	for _, path := range k.partial() {
		if info, err := os.Stat(path); err == nil && info.Size() == j.order.files[n].Size {
			return true
		}
	}
	return false
}

func (k *exportKiller) partial() []string { return k.glob("objects/partial/*") }

func (k *exportKiller) glob(pattern string) []string {
	k.Helper()
	found, err := filepath.Glob(filepath.Join(k.dir, pattern))
	if err != nil {
		k.Fatal(err)
	}
	return found
}

// jobOf is the id of the job that an object is of.
func jobOf(path string) string {
	name := filepath.Base(path)
	return name[:strings.LastIndexByte(name, '-')]
}

func (k *exportKiller) owner(path string) *exportJob {
	for _, j := range k.all() {
		if j.id == jobOf(path) {
			return j
		}
	}
	return nil
}

// pause lets up to so much time pass: a kill is to fall anywhere.
func (k *exportKiller) pause(most time.Duration) {
	time.Sleep(time.Duration(k.random.Int64N(int64(most) + 1)))
}

// until waits for what only shows from outside.
func (k *exportKiller) until(what string, ok func() bool) {
	k.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(300 * time.Microsecond) {
		if time.Now().After(end) {
			k.Fatalf("waited in vain until %s", what)
		}
	}
}
