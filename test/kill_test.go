package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

// TestKill kills the server with SIGKILL, a hundred times, at random moments of
// uploads, registrations and imports in every mode, and starts it again. What was
// acknowledged must be there, a list must be the old one or the new one and never
// a mixture, every import must end as on a server that nobody killed, and nothing
// may be left on disk that is not needed. SESAME_KILL_SEED repeats a run as far
// as timing lets it.
func TestKill(t *testing.T) {
	begun := time.Now()
	k := newKiller(t)
	undisturbed := k.start()
	for _, mode := range []string{"APPEND", "REPLACE", "REMOVE"} {
		f := k.newFile(mode)
		k.importUndisturbed(f)
		k.files = append(k.files, f)
	}
	undisturbed.stop()
	clear(k.filed)
	k.start()
	k.others = k.createList("others")
	t.Logf("undisturbed imports took %v", time.Since(begun).Round(time.Second))

	// What a kill must have fallen into at least once: as the data folder and the
	// job tell it afterwards, whatever the kill was aimed at. Where a busy machine
	// has every kill of a kind come late, more are tried.
	phases := []string{"upload", "uploaded", "registering", "reading", "spilling", "merging", "storing"}
	upload := []string{"upload", "landing", "uploaded", "register"}
	work := []string{"read", "spill", "merge"}
	kills := 100
	if testing.Short() {
		phases = []string{"uploaded", "merging"}
		kills = 9
	}
	missed := func(phase string) bool { return k.hits[phase] == 0 }
	for n := 0; n < 30 && (k.kills < kills || slices.ContainsFunc(phases, missed)); n++ {
		v := k.newLife(n, k.files[n%3], n%4 == 3)
		k.shuffle(upload)
		k.shuffle(work)
		switch {
		case testing.Short():
			k.life(v, []string{"uploaded", "register", "merge"}, k.kill)
		case v.dry:
			k.life(v, slices.Concat(work, []string{"end"}), k.kill)
		default:
			k.life(v, slices.Concat(upload, []string{"start"}, work, []string{"store", "publish", "end"}), k.kill)
		}
	}
	t.Logf("%d kills by what they fell into: %v", k.kills, k.hits)
	for _, phase := range phases {
		if missed(phase) {
			t.Errorf("no kill fell into: %s", phase)
		}
	}

	k.hits = map[string]int{}
	phases = []string{"reading", "merging"}
	for n := 100; n < 103 || n < 109 && slices.ContainsFunc(phases, missed); n++ {
		k.life(k.newLife(n, k.files[n%3], false), []string{"read", "merge"}, k.stop)
	}
	t.Logf("SIGTERMs by what they fell into: %v", k.hits)
	for _, phase := range phases {
		if missed(phase) {
			t.Errorf("no SIGTERM fell into: %s", phase)
		}
	}
	k.drain()
}

// TestEndings ends imports in every way that changes nothing, and looks for what
// they may have left: in the list, and on disk. Kills are TestKill's.
func TestEndings(t *testing.T) {
	k := newKiller(t)
	k.start("--quotas", "aws", "--api-rate", "0") // 100,000 members a list
	f := k.newFile("APPEND")
	list := k.newList("list", f)
	old := k.membersOf(list)
	for _, mode := range []string{"APPEND", "REPLACE", "REMOVE"} {
		for _, ending := range []string{"stopped in reading", "stopped in merging", "broken at its end", "over the limit"} {
			if mode == "REMOVE" && ending == "over the limit" {
				continue // nothing that is removed is too much
			}
			file := *f
			file.mode = mode
			if ending == "broken at its end" {
				file.format = types.ImportDataTypeJson
				file.body = []byte(`{"items":[{"address":"` + strings.Join(strings.Split(string(f.body), "\n"), `"},{"address":"`))
			}
			v := k.newVictim(strings.ReplaceAll(mode+"-"+ending, " ", "-"), &file, list, false)
			k.mustUpload(v)
			k.mustStart(v)
			want := "FAILED"
			switch ending {
			case "stopped in reading":
				k.until("it spills", func() bool { return k.spilled() > 0 })
				k.stopJob(v)
				want = "STOPPED"
			case "stopped in merging":
				k.until("it merges", func() bool { return k.traces(list).writing })
				k.stopJob(v)
				// The worker learns of it when it renews its lease: that shall be in the middle.
				k.s.process.Process.Signal(syscall.SIGSTOP)
				time.Sleep(600 * time.Millisecond)
				k.s.process.Process.Signal(syscall.SIGCONT)
				want = "STOPPED"
			}
			var r report
			k.until("the job ends", func() bool { r = k.reportOf(v.job); return r.Status != "PROCESSING" })
			k.untilTidy(v.name, k.filed)
			if r.Status != want || r.Imported != 0 || r.Members != nil || (r.OverLimit > 0) != (ending == "over the limit") {
				t.Errorf("%s: %+v", v.name, r)
			}
			if got := k.membersOf(list); !slices.Equal(got, old) {
				t.Errorf("%s: the list had %d members and has %d", v.name, len(old), len(got))
			}
			if r.Status == "FAILED" {
				k.wanted["imports/"+v.job] = 1
			}
			if r.RefusedLinesUrl != nil {
				k.wanted["refused/"+v.job] = 1
			}
			k.untilObjects(k.wanted)
		}
	}

	// A list that is deleted takes everything with it, also while a worker has not
	// yet seen that its job was stopped.
	v := k.newVictim("last", f, list, false)
	k.mustUpload(v)
	k.mustStart(v)
	k.until("it merges", func() bool { return k.traces(list).writing })
	ctx := context.Background()
	_, err := k.sdk.DeleteAddressList(ctx, &mailmanager.DeleteAddressListInput{AddressListId: &list})
	k.wantError("deleting a list that is imported into", err, "ConflictException")
	k.stopJob(v)
	if _, err := k.sdk.DeleteAddressList(ctx, &mailmanager.DeleteAddressListInput{AddressListId: &list}); err != nil {
		t.Fatal(err)
	}
	k.untilTidy("after all", map[string]int{})
	k.untilObjects(map[string]int{})
	k.wantNoErrors()
}

// killer is a test's run: the server, what it has acknowledged, and where the
// kills fell.
type killer struct {
	t      *testing.T
	s      *server
	sdk    *mailmanager.Client
	random *rand.Rand
	files  []*killFile
	kills  int
	hits   map[string]int // kills by the phase they fell into

	mu         sync.Mutex        // guards registered and tokens while clients run
	others     string            // list of registrations
	registered map[string]bool   // address in it: acknowledged
	tokens     map[string]string // client token of CreateAddressList: the list it made
	keepers    []*victim         // small jobs with an acknowledged upload, not started
	wanted     map[string]int    // objects that jobs need for good
	filed      map[string]int    // lists that have a file with members: 1
}

func newKiller(t *testing.T) *killer {
	// One core is enough for a kill to find each phase.
	t.Setenv("GOMAXPROCS", "1")
	return &killer{t: t, random: rand.New(rand.NewPCG(seed(t, "SESAME_KILL_SEED"), 0)), hits: map[string]int{},
		registered: map[string]bool{}, tokens: map[string]string{}, wanted: map[string]int{}, filed: map[string]int{}}
}

// start starts the server with the least memory there is, so that it spills.
func (k *killer) start(flags ...string) *server {
	k.t.Helper()
	if flags == nil {
		flags = []string{"--api-rate", "0"}
	}
	k.s = start(k.t, append([]string{"--import-memory", "1048576"}, flags...)...)
	k.sdk = k.s.client()
	return k.s
}

// restart starts the server again after it was killed.
func (k *killer) restart() {
	k.t.Helper()
	http.DefaultClient.CloseIdleConnections() // they are dead
	k.s.restart()
	k.sdk = k.s.client()
}

func (k *killer) shuffle(s []string) {
	k.random.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
}

// killFile is an import file, the members that a list has before it, and what
// an undisturbed import of it gives.
type killFile struct {
	mode   string
	format types.ImportDataType
	body   []byte
	base   []byte   // import file of what are members before
	only   []string // those of base that are not in body

	old, new []string // members before and after, in order
	report   report
	size     int64 // of the list's new file, in bytes
}

// report is what GetAddressListImportReport says of a job.
type report struct {
	Status    string
	ShareDone float64
	lines
	Removed   int64
	Members   *int64
	OverLimit int64
	Phases    []struct {
		Name    string
		Seconds float64
	}
	RefusedLinesUrl *string
}

// lines are the counts that no registration meanwhile changes.
type lines struct {
	LinesRead, Imported, Added, AlreadyPresent, NotPresent, DuplicateInFile, Invalid int64
	InvalidByReason                                                                  []struct {
		Code  string
		Lines int64
	}
}

// took is how long a phase of the undisturbed import took.
func (f *killFile) took(phase string) time.Duration {
	for _, p := range f.report.Phases {
		if p.Name == phase {
			return time.Duration(p.Seconds * float64(time.Second))
		}
	}
	return 0
}

// victim is one import job with what is known of it and of its list.
type victim struct {
	name, list, job, url string
	file                 *killFile
	dry                  bool

	uploaded bool   // an upload was acknowledged
	perhaps  bool   // an upload's acknowledgement may have been lost
	started  bool   // Start was acknowledged, or the job was seen to be started
	seen     report // when last asked for
	ended    bool   // seen COMPLETED
	checked  bool   // the list was seen as it is after that

	changes map[string]bool // address that was registered or deregistered by itself: whether it is a member
	recent  []change        // since changes was checked
}

// change is a registration or deregistration.
type change struct {
	address      string
	member       bool
	acknowledged bool
}

// newFile makes an import file and what its list holds before: members that are
// in the file too, some of them spelled in another way, and others.
func (k *killer) newFile(mode string) *killFile {
	f := &killFile{mode: mode, format: types.ImportDataTypeCsv}
	// Different spellings of one entry, wildcards, lines that are refused, no order.
	var entries, both []string
	for range 400_000 {
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
		case i%100 < 35:
			both = append(both, entry)
		}
		entries = append(entries, entry)
	}
	if mode == "REPLACE" {
		f.format = types.ImportDataTypeJson
		f.body = []byte(`{"items":[{"address":"` + strings.Join(entries, `"},{"address":"`) + `"}]}`)
	} else {
		f.body = []byte("address\n" + strings.Join(entries, "\n") + "\n")
	}
	for i := range 20_000 {
		f.only = append(f.only, fmt.Sprintf("old%x.%x@example.com", k.random.IntN(1<<30), i))
	}
	for i := range both {
		if i%2 == 0 {
			both[i] = strings.ToUpper(both[i])
		}
	}
	f.base = []byte("address\n" + strings.Join(append(both, f.only...), "\n") + "\n")
	return f
}

// importUndisturbed imports a file on a server that is left alone, and notes
// what comes of it.
func (k *killer) importUndisturbed(f *killFile) {
	k.t.Helper()
	list := k.newList("undisturbed-"+f.mode, f)
	f.old = k.membersOf(list)
	v := k.newVictim(f.mode, f, list, false)
	spilled := 0
	k.mustUpload(v)
	k.mustStart(v)
	k.until("the import ends", func() bool {
		spilled = max(spilled, k.spilled())
		return k.look(v)
	})
	k.untilTidy(f.mode, k.filed)
	f.report, f.new = v.seen, k.membersOf(list)
	for _, path := range k.glob("members/" + list + "-*") {
		info, err := os.Stat(path)
		if err != nil {
			k.t.Fatal(err)
		}
		f.size = info.Size()
	}
	r := f.report
	if spilled == 0 || r.Imported == 0 || r.Invalid == 0 || r.DuplicateInFile == 0 || r.AlreadyPresent+r.Removed == 0 ||
		r.Members == nil || int(*r.Members) != len(f.new) || slices.Equal(f.old, f.new) || len(f.old) < len(f.only)+5000 {
		k.t.Fatalf("%s is no test: %d members before, %d after, %d files of runs, %+v", f.mode, len(f.old), len(f.new), spilled, r)
	}
	k.t.Logf("%s: %d members, then %d; %v", f.mode, len(f.old), len(f.new), r.Phases)
}

// newList makes a list with the members that it holds before f is imported.
func (k *killer) newList(name string, f *killFile) (list string) {
	k.t.Helper()
	list = k.createList(name)
	base := k.newVictim("base-of-"+name, &killFile{mode: "APPEND", format: types.ImportDataTypeCsv, body: f.base}, list, false)
	k.mustUpload(base)
	k.mustStart(base)
	k.until("the members are imported", func() bool { return k.look(base) })
	k.filed[list] = 1
	return list
}

// newLife makes a list with members, some of them registered one by one, and a
// job to import f.
func (k *killer) newLife(n int, f *killFile, dry bool) *victim {
	k.t.Helper()
	name := fmt.Sprintf("life-%d", n)
	list := k.newList(name, f)
	v := k.newVictim(name, f, list, dry)
	v.changes = map[string]bool{}
	for i := range 10 {
		if err := k.change(v, k.random, i%3 > 0); err != nil {
			k.t.Fatal(err)
		}
	}
	return v
}

// change registers a new address in the victim's list, or deregisters one that is
// not in its file.
func (k *killer) change(v *victim, random *rand.Rand, member bool) error {
	c := change{address: fmt.Sprintf("new%x@example.com", random.Uint64()), member: member}
	ctx := context.Background()
	var err error
	at := len(v.recent)
	if member {
		v.recent = append(v.recent, c)
		_, err = k.sdk.RegisterMemberToAddressList(ctx, &mailmanager.RegisterMemberToAddressListInput{AddressListId: &v.list, Address: &c.address}, once)
	} else {
		c.address = v.file.only[random.IntN(len(v.file.only))]
		v.recent = append(v.recent, c)
		_, err = k.sdk.DeregisterMemberFromAddressList(ctx, &mailmanager.DeregisterMemberFromAddressListInput{AddressListId: &v.list, Address: &c.address}, once)
	}
	v.recent[at].acknowledged = err == nil
	return err
}

// life leads one import job from its creation to its end, with an interruption
// at each moment until it has ended.
func (k *killer) life(v *victim, moments []string, interrupt func(v *victim, moment string)) {
	for _, moment := range moments {
		if v.ended {
			break
		}
		interrupt(v, moment)
		if k.t.Failed() {
			k.t.FailNow() // what follows would only be confusing
		}
	}
	k.mustUpload(v)
	k.mustStart(v)
	settle := k.changeMeanwhile(v)
	k.until("the import ends", func() bool { return k.look(v) })
	settle()
	k.checkMembers(v)
	k.untilTidy(v.name, k.filed)
	k.wanted["refused/"+v.job] = 1
	if diff := cmp.Diff(v.file.report.lines, v.seen.lines); diff != "" {
		k.t.Errorf("%s: undisturbed and now:\n%s", v.name, diff)
	}
	imported := v.file.report.Imported
	if v.dry {
		imported = 0
	}
	j, err := k.sdk.GetAddressListImportJob(context.Background(), &mailmanager.GetAddressListImportJobInput{JobId: &v.job})
	if err != nil || j.CompletedTimestamp == nil || int64(*j.ImportedItemsCount) != imported || int64(*j.FailedItemsCount) != v.file.report.Invalid {
		k.t.Errorf("%s: %+v %v", v.name, j, err)
	}
}

// kill waits for a moment, kills the server, starts it again and checks what it
// has promised.
func (k *killer) kill(v *victim, moment string) {
	settle := k.await(v, moment)
	k.s.kill()
	k.kills++
	phase := settle()
	if (moment == "upload" || moment == "landing") && k.partial() > 0 {
		phase = "upload"
	}
	left := k.traces(v.list)
	k.restart()
	k.checkPromises(v)
	if phase == "" {
		phase = left.phase(v)
	}
	k.hits[phase]++
}

// stop is as kill, with SIGTERM.
func (k *killer) stop(v *victim, moment string) {
	settle := k.await(v, moment)
	before := k.traces(v.list)
	began := time.Now()
	k.s.stop() // fails the test after 10 seconds
	took := time.Since(began)
	settle()
	after := k.traces(v.list)
	k.t.Logf("%s: stopped %v after SIGTERM", moment, took.Round(time.Millisecond))
	if took > 5*time.Second || after.working || after.writing || after.files != 1 {
		k.t.Errorf("%s: stopped %v after SIGTERM, and left %+v", moment, took, after)
	}
	k.restart()
	k.checkPromises(v)
	phase := before.phase(v)
	if phase == "spilling" {
		phase = "reading"
	}
	k.hits[phase]++
}

// traces is what the work on a list has in the data folder.
type traces struct {
	working bool  // it has a spill folder
	spilled bool  // with runs in it
	writing bool  // a new file of the list
	size    int64 // of that, in bytes
	files   int   // of the list that are complete
}

func (k *killer) traces(list string) traces {
	k.t.Helper()
	t := traces{working: len(k.glob("spill/*")) > 0, spilled: k.spilled() > 0}
	for _, path := range k.glob("members/" + list + "-*") {
		if !strings.HasSuffix(path, ".new") {
			t.files++
			continue
		}
		if info, err := os.Stat(path); err == nil { // or it got its name just now
			t.writing, t.size = true, info.Size()
		}
	}
	return t
}

// stored says whether the new file is as good as complete.
func (t traces) stored(f *killFile) bool { return t.files > 1 || t.writing && t.size > f.size*95/100 }

// phase is what the work was in when it left the traces; v is known as it was
// found afterwards.
func (t traces) phase(v *victim) string {
	switch {
	case v.ended:
		return "ended"
	case t.stored(v.file):
		return "storing"
	case t.writing:
		return "merging"
	case t.spilled:
		return "spilling"
	case t.working:
		return "reading"
	case v.started:
		return "waiting for a worker"
	}
	return "before the start"
}

// await brings a moment about. settle, called when the server is dead, takes in
// what it had acknowledged, and says what the kill fell into if that tells.
func (k *killer) await(v *victim, moment string) (settle func() (phase string)) {
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
		k.pause(10 * time.Millisecond)
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
		name := "keeper-of-" + v.name
		keeper := k.newVictim(name, &killFile{mode: "APPEND", format: types.ImportDataTypeCsv, body: []byte(addresses(2000))}, k.createList(name), false)
		k.keepers = append(k.keepers, keeper)
		k.mustUpload(keeper)
		v.uploaded = false
		k.mustUpload(v)
		k.pause(3 * time.Millisecond)
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
		k.pause(20 * time.Millisecond)
		return func() string {
			v.started = <-done == nil
			return ""
		}
	}

	k.mustUpload(v)
	k.mustStart(v)
	settle = k.changeMeanwhile(v)
	in := func(what string, seen func(traces) bool) {
		looks := 0 // seldom, since an answer can take longer than a phase
		k.until(what, func() bool { looks++; return seen(k.traces(v.list)) || looks%200 == 0 && k.look(v) })
	}
	switch moment {
	case "read":
		in("it reads", func(t traces) bool { return t.working })
		k.pause(v.file.took("READING") / 4)
	case "spill":
		in("it spills", func(t traces) bool { return t.spilled })
		k.pause(v.file.took("READING"))
	case "merge":
		if v.dry { // no file tells
			in("it spills", func(t traces) bool { return t.spilled })
			time.Sleep(v.file.took("READING") * 3 / 4)
		} else {
			in("it merges", func(t traces) bool { return t.writing })
		}
		k.pause(v.file.took("MERGING"))
	case "store":
		in("it stores", func(t traces) bool { return t.stored(v.file) })
		k.pause(v.file.took("STORING") / 4)
	case "publish", "end":
		in("the new file has its name", func(t traces) bool { return t.files > 1 })
		if moment == "end" {
			k.pause(v.file.took("STORING"))
		}
		k.pause(v.file.took("STORING") / 2)
	default:
		k.t.Fatalf("there is no moment %q", moment)
	}
	return settle
}

// changeMeanwhile has a client change the list that is imported into, and the
// list of others, until the server is dead or settle is called; half of the time.
func (k *killer) changeMeanwhile(v *victim) (settle func() string) {
	if k.random.IntN(2) == 0 {
		return func() string { return "" }
	}
	random := rand.New(rand.NewPCG(k.random.Uint64(), 0))
	var enough atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !enough.Load() {
			if k.change(v, random, random.IntN(3) > 0) != nil || k.registerOther(random) != nil {
				return
			}
		}
	}()
	return func() string {
		enough.Store(true)
		<-ended
		return ""
	}
}

// registerOther registers an address in the list of others.
func (k *killer) registerOther(random *rand.Rand) error {
	address := fmt.Sprintf("member%x@example.com", random.Uint64())
	_, err := k.sdk.RegisterMemberToAddressList(context.Background(),
		&mailmanager.RegisterMemberToAddressListInput{AddressListId: &k.others, Address: &address}, once)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.registered[address] = err == nil
	return err
}

// registerUntilDead has clients register members and make lists until the server
// is dead, and returns when it is to be killed.
func (k *killer) registerUntilDead() (settle func() string) {
	ctx := context.Background()
	acknowledged := make(chan struct{}, 100_000)
	var clients sync.WaitGroup
	for range 4 {
		random := rand.New(rand.NewPCG(k.random.Uint64(), 0))
		clients.Go(func() {
			for k.registerOther(random) == nil {
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
			k.mu.Lock()
			k.tokens[token] = *out.AddressListId
			k.mu.Unlock()
		}
	})
	for range 1 + k.random.IntN(60) {
		<-acknowledged
	}
	k.pause(3 * time.Millisecond)
	return func() string {
		clients.Wait()
		return "registering"
	}
}

// checkPromises checks, after a restart, that what was acknowledged is there.
func (k *killer) checkPromises(v *victim) {
	k.t.Helper()
	ctx := context.Background()
	k.look(v)
	k.checkMembers(v)
	if v.started {
		return // or the import would end before the next kill
	}
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
	if job, url := k.createJob(v); job != v.job || url != v.url {
		k.t.Errorf("the client token of %s gave %s and now %s", v.name, v.job, job)
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
		if _, err := k.sdk.GetMemberOfAddressList(ctx, &mailmanager.GetMemberOfAddressListInput{AddressListId: &k.others, Address: &address}); err != nil {
			k.t.Errorf("%s was registered, and now: %v", address, err)
		}
	}
}

// checkMembers checks that the victim's list is the one before the import or the
// one after it, as the job says, with the changes that were made to it by
// themselves.
func (k *killer) checkMembers(v *victim) {
	k.t.Helper()
	var got []string
	for again := true; again; {
		ended := v.ended
		got = k.membersOf(v.list)
		again = k.look(v) != ended // it may have ended meanwhile
	}
	want := v.file.old
	if v.ended && !v.dry {
		want = v.file.new
	}
	have := make(map[string]bool, len(got))
	for _, address := range got {
		have[address] = true
	}

	if v.ended && !v.checked && !v.dry {
		if n := v.seen.Members; n == nil || len(v.recent) == 0 && int(*n) != len(got) {
			k.t.Errorf("%s: the report's Members are not the list's %d: %+v", v.name, len(got), v.seen)
		}
	}
	if v.file.mode == "REPLACE" && v.ended && !v.checked && !v.dry {
		// What was changed before is replaced too. Of what was registered since the
		// server was started last, from some moment on everything is there.
		for address := range v.changes {
			v.changes[address] = false
		}
		after := false
		for _, c := range v.recent {
			if after && c.member && c.acknowledged && !have[c.address] {
				k.t.Errorf("%s: %s was registered after the list was replaced, and is no member", v.name, c.address)
			}
			after = after || c.member && have[c.address]
			v.changes[c.address] = c.member && have[c.address]
		}
	} else {
		for _, c := range v.recent {
			if !c.acknowledged { // done or not
				c.member = have[c.address]
			}
			v.changes[c.address] = c.member
		}
	}
	v.recent, v.checked = nil, v.ended

	for address, member := range v.changes {
		if have[address] != member {
			k.t.Errorf("%s (%s, ended: %t): whether %s is a member: %t, want %t", v.name, v.file.mode, v.ended, address, have[address], member)
		}
	}
	changed := func(address string) bool { _, ok := v.changes[address]; return ok }
	got = slices.DeleteFunc(got, changed)
	want = slices.DeleteFunc(slices.Clone(want), changed)
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			k.t.Errorf("%s (%s, ended: %t): %d members, want %d; the first that differs is number %d: %q, want %q",
				v.name, v.file.mode, v.ended, len(got), len(want), i, got[i:min(i+1, len(got))], want[i:min(i+1, len(want))])
			return
		}
	}
}

// drain ends what is open and checks that nothing is left that should not be.
func (k *killer) drain() {
	got := map[string]bool{}
	for _, address := range k.membersOf(k.others) {
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
	for i, keeper := range k.keepers {
		if i%2 == 0 {
			k.wanted["imports/"+keeper.job] = 1
			continue
		}
		k.mustStart(keeper)
		k.until("the import ends", func() bool { return k.look(keeper) })
		k.filed[keeper.list] = 1
		if n := len(k.membersOf(keeper.list)); keeper.seen.Imported != 2000 || keeper.seen.Invalid != 0 || n != 2000 {
			k.t.Errorf("%s: %d members, %+v", keeper.name, n, keeper.seen)
		}
	}
	bad := k.newVictim("failing", &killFile{mode: "APPEND", format: types.ImportDataTypeCsv, body: []byte("<!DOCTYPE html><html></html>\n")}, k.createList("failing"), false)
	k.mustUpload(bad)
	k.mustStart(bad)
	if j := waitForJob(k.t, k.sdk, bad.job, time.Minute); j.Status != types.ImportJobStatusFailed {
		k.t.Fatalf("an HTML page was imported: %s", j.Status)
	}
	k.wanted["imports/"+bad.job] = 1

	// A crash may leave an object that no job knows; it goes when it is an hour old.
	k.s.stop()
	old := time.Now().Add(-2 * time.Hour)
	for _, path := range k.glob("objects/whole/*/*") {
		if err := os.Chtimes(path, old, old); err != nil {
			k.t.Fatal(err)
		}
	}
	k.t.Logf("%d objects before the sweep, %d of them are needed", len(k.glob("objects/whole/*/*")), len(k.wanted))
	k.restart()
	k.untilObjects(k.wanted)
	k.untilTidy("after all", k.filed)
	k.wantNoErrors()
}

// untilObjects waits until there are the objects that are wanted, by their kind
// and job, and no others.
func (k *killer) untilObjects(wanted map[string]int) {
	k.t.Helper()
	k.untilEqual("the objects", wanted, func() map[string]int {
		found := map[string]int{}
		for _, path := range k.glob("objects/whole/*/*") {
			kind, id := filepath.Base(filepath.Dir(path)), filepath.Base(path)
			found[kind+"/"+id[:strings.LastIndexByte(id, '-')]]++
		}
		if n := k.partial(); n > 0 {
			found["unfinished"] = n
		}
		return found
	})
}

// untilTidy waits until the folders of members and spilled runs hold one file for
// each list that is filed, and nothing else.
func (k *killer) untilTidy(about string, filed map[string]int) {
	k.t.Helper()
	k.untilEqual(about+": the files of lists and spilled runs", filed, func() map[string]int {
		found := map[string]int{}
		for _, path := range slices.Concat(k.glob("members/*"), k.glob("spill/*")) {
			name := filepath.Base(path)
			if cut := strings.LastIndexByte(name, '-'); !strings.HasSuffix(name, ".new") && strings.HasPrefix(name, "al-") {
				name = name[:cut]
			}
			found[name]++
		}
		return found
	})
}

func (k *killer) untilEqual(what string, want map[string]int, found func() map[string]int) {
	k.t.Helper()
	var diff string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if diff = cmp.Diff(want, found()); diff == "" {
			return
		}
	}
	k.t.Fatalf("%s: wanted and found:\n%s", what, diff)
}

func (k *killer) wantNoErrors() {
	k.t.Helper()
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

// newVictim makes a job to import f into a list.
func (k *killer) newVictim(name string, f *killFile, list string, dry bool) *victim {
	k.t.Helper()
	v := &victim{name: name, file: f, list: list, dry: dry}
	v.job, v.url = k.createJob(v)
	return v
}

// createJob makes the victim's job, or asks for it again.
func (k *killer) createJob(v *victim) (job, url string) {
	k.t.Helper()
	var out struct{ JobId, PreSignedUrl string }
	k.call("CreateAddressListImportJob", map[string]any{
		"AddressListId": v.list, "Name": v.name, "ClientToken": v.name, "Mode": v.file.mode, "DryRun": v.dry,
		"ImportDataFormat": map[string]any{"ImportDataType": v.file.format},
	}, &out)
	return out.JobId, out.PreSignedUrl
}

// call calls one of Sesame's own operations.
func (k *killer) call(operation string, in, out any) {
	k.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		k.t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, k.s.url+"/sesame/v1/"+operation, bytes.NewReader(body))
	if err != nil {
		k.t.Fatal(err)
	}
	if err := sign(r, body, aws.Credentials{AccessKeyID: rootID, SecretAccessKey: rootSecret}); err != nil {
		k.t.Fatal(err)
	}
	status, text := k.fetch(r)
	if err := json.Unmarshal(text, out); status != http.StatusOK || err != nil {
		k.t.Fatalf("%s %s: %d %s, %v", operation, body, status, text, err)
	}
}

func (k *killer) fetch(r *http.Request) (status int, text []byte) {
	k.t.Helper()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		k.t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err = io.ReadAll(answer.Body); err != nil {
		k.t.Fatal(err)
	}
	return answer.StatusCode, text
}

func (k *killer) reportOf(job string) (r report) {
	k.t.Helper()
	k.call("GetAddressListImportReport", map[string]any{"JobId": job}, &r)
	return r
}

// membersOf gives the members of a list in their order.
func (k *killer) membersOf(list string) []string {
	k.t.Helper()
	var out struct{ Url string }
	k.call("ExportAddressList", map[string]any{"AddressListId": list}, &out)
	r, err := http.NewRequest(http.MethodGet, out.Url, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	status, text := k.fetch(r)
	rows, ok := strings.CutPrefix(string(text), "address\n")
	if status != http.StatusOK || !ok {
		k.t.Fatalf("export: %d %.1000s", status, text)
	}
	if rows == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(rows, "\n"), "\n")
}

func (k *killer) stopJob(v *victim) {
	k.t.Helper()
	if _, err := k.sdk.StopAddressListImportJob(context.Background(), &mailmanager.StopAddressListImportJobInput{JobId: &v.job}); err != nil {
		k.t.Fatalf("%s: %v", v.name, err)
	}
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
	before := v.seen
	v.seen = k.reportOf(v.job)
	if v.seen.ShareDone < before.ShareDone || v.seen.LinesRead < before.LinesRead || v.seen.Invalid < before.Invalid || v.seen.Imported < before.Imported {
		k.t.Errorf("%s: counts went back: %+v, and now: %+v", v.name, before, v.seen)
	}
	switch v.seen.Status {
	case "CREATED":
		if v.started {
			k.t.Fatalf("%s: the job was started and is not", v.name)
		}
		return false
	case "PROCESSING", "COMPLETED":
		if v.seen.Status == "PROCESSING" && (v.ended || v.seen.Imported != 0 || v.seen.Members != nil) {
			k.t.Fatalf("%s: ended: %t, and now: %+v", v.name, v.ended, v.seen)
		}
		v.started, v.ended = true, v.seen.Status == "COMPLETED"
		return v.ended
	}
	k.t.Fatalf("%s: %+v", v.name, v.seen)
	return true
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

// pause lets up to so much time pass: a kill is to fall anywhere.
func (k *killer) pause(most time.Duration) {
	time.Sleep(time.Duration(k.random.Int64N(int64(most) + 1)))
}

// until waits for what only shows from outside.
func (k *killer) until(what string, ok func() bool) {
	k.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(200 * time.Microsecond) {
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

func (k *killer) partial() int { return len(k.glob("objects/partial/*")) }
func (k *killer) spilled() int { return len(k.glob("spill/*/run-*.tmp")) }
