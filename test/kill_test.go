package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

// TestKill kills the server with SIGKILL, a hundred times, at random moments of
// uploads, registrations and imports, and starts it again. What was acknowledged
// must be there, and every import must end as on a server that nobody killed.
// SESAME_KILL_SEED repeats a run as far as timing lets it.
func TestKill(t *testing.T) {
	begun := time.Now()
	// The least memory there is makes the sorter spill.
	flags := []string{"--import-memory", "1048576", "--api-rate", "0"}
	k := &killer{t: t, random: rand.New(rand.NewPCG(seed(t, "SESAME_KILL_SEED"), 0)), hits: map[string]int{},
		registered: map[string]bool{}, tokens: map[string]string{}}

	undisturbed := start(t, flags...)
	k.s, k.sdk = undisturbed, undisturbed.client()
	for i := range 3 {
		k.files = append(k.files, k.newFile(i))
	}
	undisturbed.stop()
	k.s = start(t, flags...)
	k.sdk = k.s.client()
	k.members = k.createList("registered")
	t.Logf("%d spilled runs a file; undisturbed imports took %v", k.files[0].runs, time.Since(begun).Round(time.Second))

	// What a kill must have fallen into at least once: as the data folder and the
	// job tell it afterwards, whatever the kill was aimed at. Where a busy machine
	// has every kill of a kind come late, more are tried.
	phases := []string{"upload", "uploaded", "registering", "reading", "spilling", "merging", "applying"}
	upload := []string{"upload", "landing", "uploaded", "register"}
	work := []string{"read", "merge", "apply", "apply"}
	lives := 10
	if testing.Short() {
		phases = []string{"upload", "uploaded", "registering", "applying"}
		lives = 1
	}
	missed := func(phase string) bool { return k.hits[phase] == 0 }
	for n := 0; n < lives || n < lives+5 && slices.ContainsFunc(phases, missed); n++ {
		k.random.Shuffle(len(upload), func(i, j int) { upload[i], upload[j] = upload[j], upload[i] })
		k.random.Shuffle(len(work), func(i, j int) { work[i], work[j] = work[j], work[i] })
		moments := slices.Concat(upload, []string{"start"}, work, []string{"end"})
		if testing.Short() {
			moments = []string{"upload", "uploaded", "register", "read", "apply"}
		}
		k.life(n, moments, k.kill)
	}
	t.Logf("kills by what they fell into: %v", k.hits)
	for _, phase := range phases {
		if missed(phase) {
			t.Errorf("no kill fell into: %s", phase)
		}
	}

	k.hits = map[string]int{}
	k.life(100, []string{"read", "apply"}, k.stop)
	t.Logf("SIGTERMs by what they fell into: %v", k.hits)
	if k.hits["applying"] == 0 {
		t.Error("no SIGTERM fell into the middle of an import")
	}
	k.drain()
}

// killer is TestKill's run: the server, what it has acknowledged, and where the
// kills fell.
type killer struct {
	t      *testing.T
	s      *server
	sdk    *mailmanager.Client
	random *rand.Rand
	files  []killFile
	hits   map[string]int

	members    string            // list of the registrations
	registered map[string]bool   // address: acknowledged
	tokens     map[string]string // client token of CreateAddressList: the list it made
	keepers    []*victim         // small jobs with an acknowledged upload, not started
}

// killFile is an import file, and what an undisturbed import of it gives.
type killFile struct {
	format types.ImportDataType
	body   []byte
	lines  int32

	runs     int // files that sorting it spills
	imported int32
	failed   int32
	members  []string // in the order of ListMembersOfAddressList
}

// victim is one import job with what is known of it.
type victim struct {
	name, list, job, url string
	file                 *killFile

	uploaded bool  // an upload was acknowledged
	perhaps  bool  // an upload's acknowledgement may have been lost
	started  bool  // Start was acknowledged, or the job was seen to be started
	imported int32 // ImportedItemsCount when last seen
	resumed  int32 // ImportedItemsCount when the server was started last
	wanted   int32 // that at which to kill
	ended    bool
}

// newFile makes an import file and imports it on a server that is left alone.
func (k *killer) newFile(n int) killFile {
	f := killFile{format: types.ImportDataTypeCsv, lines: 150_000}
	// Different spellings of one entry, wildcards, lines that are refused, no order.
	entries := make([]string, 0, f.lines)
	for range f.lines {
		i := k.random.IntN(1 << 30)
		entry := fmt.Sprintf("user.%x@example%d.com", i, i%5000)
		switch {
		case i%100 < 8 && len(entries) > 0:
			entry = strings.ToUpper(entries[k.random.IntN(len(entries))])
		case i%100 < 10:
			entry = fmt.Sprintf("*.d%x.example.net", i)
		case i%100 < 12:
			entry = fmt.Sprintf("d%x.example.org", i)
		case i%100 < 16:
			entry = fmt.Sprintf("refused %x@example.com", i)
		case i%100 < 30:
			entry = fmt.Sprintf("Jürgen.%x@Example%d.com", i, i%5000)
		}
		entries = append(entries, entry)
	}
	if n%3 == 1 {
		f.format = types.ImportDataTypeJson
		f.body = []byte(`{"items":[{"address":"` + strings.Join(entries, `"},{"address":"`) + `"}]}`)
	} else {
		f.body = []byte("address\n" + strings.Join(entries, "\n") + "\n")
	}

	v := k.newVictim(fmt.Sprintf("undisturbed-%d", n), &f)
	k.mustUpload(v)
	k.mustStart(v)
	k.until("the import ends", func() bool {
		f.runs = max(f.runs, k.spilled())
		return k.look(v)
	})
	got := k.result(v)
	f.imported, f.failed, f.members = got.imported, got.failed, got.members
	if f.imported+f.failed != f.lines || f.failed == 0 || int(f.imported) <= len(f.members) || f.runs < 3 {
		k.t.Fatalf("file %d is no test: %d lines, %d imported, %d refused, %d members, %d runs", n, f.lines, f.imported, f.failed, len(f.members), f.runs)
	}
	return f
}

// life leads one import job from its creation to its end, with an interruption
// at each moment.
func (k *killer) life(n int, moments []string, interrupt func(v *victim, moment string)) {
	v := k.newVictim(fmt.Sprintf("life-%d", n), &k.files[n%len(k.files)])
	applies := 0
	for _, moment := range moments {
		if moment == "apply" { // each a little further into the list
			applies++
			v.wanted = max(v.imported+1, v.file.imported*int32(2*applies-1)/5+k.random.Int32N(v.file.imported/5))
		}
		interrupt(v, moment)
		if k.t.Failed() {
			k.t.FailNow() // what follows would only be confusing
		}
	}
	k.mustUpload(v)
	k.mustStart(v)
	k.until("the import ends", func() bool { return k.look(v) })
	got := k.result(v)
	if got.imported != v.file.imported || got.failed != v.file.failed {
		k.t.Errorf("%s: %d imported and %d refused, want %d and %d", v.name, got.imported, got.failed, v.file.imported, v.file.failed)
	}
	for i, want := range v.file.members {
		if i >= len(got.members) || got.members[i] != want {
			k.t.Errorf("%s: %d members and not %d; the first that differs is number %d, %q", v.name, len(got.members), len(v.file.members), i, want)
			break
		}
	}
	if len(got.members) > len(v.file.members) {
		k.t.Errorf("%s: %d members, want %d", v.name, len(got.members), len(v.file.members))
	}
}

// kill waits for a moment, kills the server, starts it again and checks what it
// has promised.
func (k *killer) kill(v *victim, moment string) {
	settle := k.await(v, moment)
	k.s.kill()
	phase := settle()
	spilling, spilled := k.spillFolders(), k.spilled()
	if k.partial() > 0 {
		phase = "upload"
	}
	k.s.restart()
	k.sdk = k.s.client() // the old one's connections are dead

	seen := v.imported
	k.look(v)
	switch {
	case phase != "":
	case v.ended:
		phase = "ended"
	case v.imported > v.resumed:
		phase = "applying"
	case spilling == 0:
		phase = "waiting for a worker"
	case spilled == 0:
		phase = "reading"
	case spilled < v.file.runs:
		phase = "spilling"
	default:
		phase = "merging"
	}
	k.hits[phase]++
	k.checkPromises(v, seen)
}

// stop is as kill, with SIGTERM.
func (k *killer) stop(v *victim, moment string) {
	settle := k.await(v, moment)
	began := time.Now()
	k.s.stop() // fails the test after 10 seconds
	settle()
	k.t.Logf("%s: stopped %v after SIGTERM", moment, time.Since(began).Round(time.Millisecond))
	if n := k.spillFolders(); n > 0 {
		k.t.Errorf("%s: %d folders of spilled runs are left after SIGTERM", moment, n)
	}
	if strings.Contains(k.s.log.String(), `"msg":"import ended","job":"`+v.job) {
		k.t.Errorf("%s: the import ended before the server stopped", moment)
	}
	k.s.restart()
	k.sdk = k.s.client() // the old one's connections are dead
	seen := v.imported
	k.look(v)
	phase := "reading or sorting"
	if v.imported > v.resumed {
		phase = "applying"
	}
	k.hits[phase]++
	k.checkPromises(v, seen)
}

// await brings a moment about. settle, called when the server is dead, takes in
// what it had acknowledged, and says what the kill fell into if that tells.
func (k *killer) await(v *victim, moment string) (settle func() (phase string)) {
	settled := func() string { return "" }
	ctx := context.Background()
	switch moment {
	case "upload", "landing": // in the middle, or at the very end
		cut := 100_000 + k.random.IntN(len(v.file.body)-200_000)
		out, in := io.Pipe()
		done := make(chan int, 1)
		go func() {
			status, _, _ := put(ctx, v.url, out)
			done <- status
		}()
		in.Write(v.file.body[:cut])
		k.until("the upload is being written", func() bool { return k.partial() > 0 })
		if moment == "landing" {
			in.Write(v.file.body[cut:])
			in.Close()
		}
		k.pause(10)
		return func() string {
			in.CloseWithError(errors.New("the server is dead"))
			switch status := <-done; {
			case status != 200:
				v.perhaps = v.perhaps || moment == "landing"
				return "landing"
			case moment == "upload":
				k.t.Error("an upload was acknowledged before its end")
			}
			v.uploaded = true
			return "uploaded"
		}

	case "uploaded":
		keeper := k.newVictim(fmt.Sprintf("keeper-of-%s", v.name), &killFile{
			format: types.ImportDataTypeCsv, body: []byte(addresses(2000)), imported: 2000})
		k.keepers = append(k.keepers, keeper)
		k.mustUpload(keeper)
		v.uploaded = false
		k.mustUpload(v)
		k.pause(3)
		return func() string { return "uploaded" }

	case "register":
		return k.registerUntilDead()

	case "start":
		k.mustUpload(v)
		done := make(chan error, 1)
		go func() {
			_, err := k.sdk.StartAddressListImportJob(ctx, &mailmanager.StartAddressListImportJobInput{JobId: &v.job}, once)
			done <- err
		}()
		k.pause(20)
		return func() string {
			v.started = <-done == nil
			return ""
		}
	}

	k.mustUpload(v)
	k.mustStart(v)
	switch moment {
	case "read":
		runs := k.random.IntN(v.file.runs)
		k.until("runs are spilled", func() bool { return k.spilled() >= runs || k.look(v) })
		k.pause(10)
	case "merge":
		k.until("everything is spilled", func() bool { return k.spilled() >= v.file.runs || k.look(v) })
		k.pause(8)
	case "apply":
		k.until("entries are applied", func() bool { return k.look(v) || v.imported >= v.wanted })
		k.pause(30)
	case "end":
		k.until("the last batch is applied", func() bool { return k.look(v) || v.imported > v.file.imported-15_000 })
		k.pause(60)
	default:
		k.t.Fatalf("there is no moment %q", moment)
	}
	return settled
}

// registerUntilDead has clients register members and make lists until the server
// is dead, and returns when it is to be killed.
func (k *killer) registerUntilDead() (settle func() string) {
	ctx := context.Background()
	acknowledged := make(chan struct{}, 100_000)
	var mu sync.Mutex
	var clients sync.WaitGroup
	cutOff := 0
	for range 4 {
		first := k.random.Uint64()
		clients.Go(func() {
			for i := first; ; i++ {
				address := fmt.Sprintf("member%x@example.com", i)
				mu.Lock()
				k.registered[address] = false
				mu.Unlock()
				_, err := k.sdk.RegisterMemberToAddressList(ctx,
					&mailmanager.RegisterMemberToAddressListInput{AddressListId: &k.members, Address: &address}, once)
				mu.Lock()
				if err == nil {
					k.registered[address] = true
				} else {
					cutOff++
				}
				mu.Unlock()
				if err != nil {
					return
				}
				acknowledged <- struct{}{}
			}
		})
	}
	first := k.random.Uint64()
	clients.Go(func() {
		for i := range uint64(20) { // an account may not have any number of lists
			token := fmt.Sprintf("token-%x", first+i)
			out, err := k.sdk.CreateAddressList(ctx, &mailmanager.CreateAddressListInput{AddressListName: &token, ClientToken: &token}, once)
			if err != nil {
				return
			}
			mu.Lock()
			k.tokens[token] = *out.AddressListId
			mu.Unlock()
		}
	})
	for range 1 + k.random.IntN(60) {
		<-acknowledged
	}
	k.pause(3)
	return func() string {
		clients.Wait()
		if cutOff == 0 {
			return "idle"
		}
		return "registering"
	}
}

// checkPromises checks, after a restart, that what was acknowledged is there.
func (k *killer) checkPromises(v *victim, seen int32) {
	k.t.Helper()
	ctx := context.Background()
	if v.imported < seen {
		k.t.Errorf("%s: %d entries were imported, and now %d are", v.name, seen, v.imported)
	}
	v.resumed = v.imported
	if !v.uploaded && !v.perhaps {
		_, err := k.sdk.StartAddressListImportJob(ctx, &mailmanager.StartAddressListImportJobInput{JobId: &v.job})
		k.wantError(v.name+": start of what was not uploaded", err, "ConflictException")
	}

	// Client tokens are remembered: those of this job, and some of the others.
	tokens := map[string]string{v.name: v.list}
	for token, id := range k.tokens { // in any order
		if len(tokens) > 5 {
			break
		}
		tokens[token] = id
	}
	for token, id := range tokens {
		out, err := k.sdk.CreateAddressList(ctx, &mailmanager.CreateAddressListInput{AddressListName: &token, ClientToken: &token})
		if err != nil || *out.AddressListId != id {
			k.t.Errorf("the client token %s gave %s and now: %+v, %v", token, id, out, err)
		}
		_, err = k.sdk.CreateAddressList(ctx, &mailmanager.CreateAddressListInput{AddressListName: aws.String("other"), ClientToken: &token})
		k.wantError("a client token with another name", err, "ConflictException")
	}
	job, err := k.sdk.CreateAddressListImportJob(ctx, v.input())
	if err != nil || *job.JobId != v.job || *job.PreSignedUrl != v.url {
		k.t.Errorf("the client token of %s gave %s and now: %+v, %v", v.name, v.job, job, err)
	}

	// Every member is looked for at the end; here some are.
	looked := 0
	for address, acknowledged := range k.registered {
		if !acknowledged {
			continue
		}
		if looked++; looked > 20 {
			break
		}
		if _, err := k.sdk.GetMemberOfAddressList(ctx, &mailmanager.GetMemberOfAddressListInput{AddressListId: &k.members, Address: &address}); err != nil {
			k.t.Errorf("%s was registered, and now: %v", address, err)
		}
	}
}

// drain ends what is open and checks that nothing is left that should not be.
func (k *killer) drain() {
	got := map[string]bool{}
	for _, address := range k.listMembers(k.members) {
		got[address] = true
	}
	acknowledged := 0
	for address, was := range k.registered {
		if was {
			acknowledged++
		}
		if was && !got[address] {
			k.t.Errorf("%s was registered and is not a member", address)
		}
		delete(got, address)
	}
	if len(got) > 0 {
		k.t.Errorf("nobody registered %d of the members", len(got))
	}
	k.t.Logf("%d registrations were acknowledged, %d were not", acknowledged, len(k.registered)-acknowledged)

	// Uploads that were acknowledged right before a kill are imported whole; some
	// stay as they are, and one fails.
	wanted := map[string]int{}
	for i, keeper := range k.keepers {
		if i%2 == 0 {
			wanted[keeper.job]++
			continue
		}
		k.mustStart(keeper)
		k.until("the import ends", func() bool { return k.look(keeper) })
		if r := k.result(keeper); r.imported != keeper.file.imported || r.failed != 0 || len(r.members) != int(r.imported) {
			k.t.Errorf("%s: %d imported, %d refused, %d members", keeper.name, r.imported, r.failed, len(r.members))
		}
	}
	bad := k.newVictim("failing", &killFile{format: types.ImportDataTypeCsv, body: []byte("<!DOCTYPE html><html></html>\n")})
	k.mustUpload(bad)
	k.mustStart(bad)
	if j := waitForJob(k.t, k.sdk, bad.job, time.Minute); j.Status != types.ImportJobStatusFailed {
		k.t.Fatalf("an HTML page was imported: %s", j.Status)
	}
	wanted[bad.job]++

	// A crash may leave an object that no job knows; it goes when it is an hour old.
	k.s.stop()
	old := time.Now().Add(-2 * time.Hour)
	for _, path := range k.objects() {
		if err := os.Chtimes(path, old, old); err != nil {
			k.t.Fatal(err)
		}
	}
	k.t.Logf("%d objects before the sweep, %d of them are needed", len(k.objects()), len(wanted))
	k.s.restart()
	k.sdk = k.s.client() // the old one's connections are dead
	var diff string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		objects := map[string]int{}
		for _, path := range k.objects() {
			id := filepath.Base(path)
			objects[id[:strings.LastIndexByte(id, '-')]]++
		}
		if diff = cmp.Diff(wanted, objects); diff == "" {
			break
		}
	}
	if diff != "" {
		k.t.Errorf("the objects are not those of the CREATED and FAILED jobs:\n%s", diff)
	}
	if n := k.spillFolders(); n > 0 {
		k.t.Errorf("%d folders of spilled runs are left", n)
	}
	if n := k.partial(); n > 0 {
		k.t.Errorf("%d unfinished objects are left", n)
	}
	for _, line := range strings.Split(k.s.log.String(), "\n") {
		if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "panic") {
			k.t.Errorf("the server logged: %s", line)
		}
	}
}

// createList makes a list whose name is its client token.
func (k *killer) createList(name string) (id string) {
	k.t.Helper()
	out, err := k.sdk.CreateAddressList(context.Background(), &mailmanager.CreateAddressListInput{AddressListName: &name, ClientToken: &name})
	if err != nil {
		k.t.Fatal(err)
	}
	return *out.AddressListId
}

func (v *victim) input() *mailmanager.CreateAddressListImportJobInput {
	return &mailmanager.CreateAddressListImportJobInput{AddressListId: &v.list, Name: &v.name, ClientToken: &v.name,
		ImportDataFormat: &types.ImportDataFormat{ImportDataType: v.file.format}}
}

func (k *killer) newVictim(name string, f *killFile) *victim {
	k.t.Helper()
	v := &victim{name: name, file: f, list: k.createList(name)}
	out, err := k.sdk.CreateAddressListImportJob(context.Background(), v.input())
	if err != nil {
		k.t.Fatal(err)
	}
	v.job, v.url = *out.JobId, *out.PreSignedUrl
	return v
}

// mustUpload uploads the victim's file unless that was acknowledged before.
func (k *killer) mustUpload(v *victim) {
	k.t.Helper()
	if v.uploaded {
		return
	}
	if status, text, err := put(context.Background(), v.url, bytes.NewReader(v.file.body)); err != nil || status != 200 {
		k.t.Fatalf("%s: upload: %d %v\n%s", v.name, status, err, text)
	}
	v.uploaded = true
}

// mustStart starts the victim's job unless it is known to be started. The upload
// was acknowledged, so this is where one that was lost is missed.
func (k *killer) mustStart(v *victim) {
	k.t.Helper()
	if v.started {
		return
	}
	if _, err := k.sdk.StartAddressListImportJob(context.Background(), &mailmanager.StartAddressListImportJobInput{JobId: &v.job}); err != nil {
		k.t.Fatalf("%s: %v", v.name, err)
	}
	v.started = true
}

// look asks how far the job is, and says whether it has ended.
func (k *killer) look(v *victim) (ended bool) {
	k.t.Helper()
	j, err := k.sdk.GetAddressListImportJob(context.Background(), &mailmanager.GetAddressListImportJobInput{JobId: &v.job})
	if err != nil {
		k.t.Fatalf("%s: %v", v.name, err)
	}
	switch j.Status {
	case types.ImportJobStatusCreated:
		if v.started {
			k.t.Fatalf("%s: the job was started and is not", v.name)
		}
		return false
	case types.ImportJobStatusProcessing, types.ImportJobStatusCompleted:
		v.started = true
		v.imported = *j.ImportedItemsCount
		v.ended = j.Status == types.ImportJobStatusCompleted
		return v.ended
	}
	k.t.Fatalf("%s: the job is %s: %s", v.name, j.Status, aws.ToString(j.Error))
	return true
}

// result is what a job that has ended has done.
func (k *killer) result(v *victim) killFile {
	k.t.Helper()
	j, err := k.sdk.GetAddressListImportJob(context.Background(), &mailmanager.GetAddressListImportJobInput{JobId: &v.job})
	if err != nil || j.CompletedTimestamp == nil {
		k.t.Fatalf("%s: %+v %v", v.name, j, err)
	}
	return killFile{imported: *j.ImportedItemsCount, failed: *j.FailedItemsCount, members: k.listMembers(v.list)}
}

func (k *killer) listMembers(list string) (members []string) {
	k.t.Helper()
	pages := mailmanager.NewListMembersOfAddressListPaginator(k.sdk, &mailmanager.ListMembersOfAddressListInput{AddressListId: &list})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			k.t.Fatal(err)
		}
		for _, m := range page.Addresses {
			members = append(members, *m.Address)
		}
	}
	return members
}

// once makes a call of the SDK try once.
func once(o *mailmanager.Options) { o.Retryer = aws.NopRetryer{} }

func (k *killer) wantError(about string, err error, code string) {
	k.t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		k.t.Errorf("%s: got %v, want %s", about, err, code)
	}
}

// pause lets up to so many milliseconds pass: a kill is to fall anywhere.
func (k *killer) pause(most int) {
	time.Sleep(time.Duration(k.random.IntN(1000*most)) * time.Microsecond)
}

// until waits for what only shows from outside.
func (k *killer) until(what string, ok func() bool) {
	k.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			k.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// What lies in the data folder.

func (k *killer) glob(pattern string) []string {
	k.t.Helper()
	found, err := filepath.Glob(filepath.Join(k.s.dir, pattern))
	if err != nil {
		k.t.Fatal(err)
	}
	return found
}

func (k *killer) partial() int      { return len(k.glob("objects/partial/*")) }
func (k *killer) objects() []string { return k.glob("objects/whole/imports/*") }
func (k *killer) spillFolders() int { return len(k.glob("spill/*")) }
func (k *killer) spilled() int      { return len(k.glob("spill/*/run-*.tmp")) }
