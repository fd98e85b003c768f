package test

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestKillExports kills the server with SIGKILL, cancels exports and stops it with
// SIGTERM, all at random moments of the work on a queue of exports of every format.
// What was acknowledged must be there, every export that nobody cancelled must end
// with the bytes of an undisturbed one, nothing else may ever be downloaded, and
// nothing may be left on disk that no job has. A watcher downloads all the while.
// SESAME_KILL_SEED repeats a run as far as timing lets it.
func TestKillExports(t *testing.T) {
	begun := time.Now()
	kills, cancels, stops, records := 40, 40, 5, 60_000
	if testing.Short() {
		kills, cancels, stops, records = 5, 5, 1, 20_000
	}
	k := newExportKiller(t, records)
	type interruption struct {
		do      func(*exportJob)
		moments []string
	}
	kill := interruption{k.kill, []string{"claiming", "reading", "reading", "writing", "writing", "publishing", "ended", "any"}}
	todo := slices.Concat(slices.Repeat([]interruption{kill}, kills),
		slices.Repeat([]interruption{{k.cancel, []string{"claiming", "reading", "reading", "writing", "writing", "publishing", "any"}}}, cancels),
		slices.Repeat([]interruption{{k.terminate, []string{"reading", "writing", "any"}}}, stops))
	k.random.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })

	stop, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		k.watch(stop)
	}()
	endWatch := sync.OnceFunc(func() { close(stop); <-watched })
	defer endWatch()
	t.Logf("undisturbed exports, and all before them, took %v", time.Since(begun).Round(time.Second))

	// What a kill must have fallen into at least once. Where a busy machine has every
	// kill of a kind come late, more are tried.
	phases := []string{"claiming", "reading", "writing", "publishing", "ended"}
	if testing.Short() {
		phases = nil
	}
	missed := func() (all []string) {
		for _, phase := range phases {
			if k.killed[phase] == 0 {
				all = append(all, phase)
			}
		}
		return all
	}
	for n := 0; n < len(todo)+20; n++ {
		next := interruption{k.kill, missed()}
		if n < len(todo) {
			next = todo[n]
		} else if len(next.moments) == 0 {
			break
		}
		next.do(k.await(next.moments[k.random.IntN(len(next.moments))], k.fill()))
		if t.Failed() {
			t.FailNow() // what follows would only be confusing
		}
	}
	k.drain()
	endWatch()
	k.tidy()

	t.Logf("by what they fell into: kills %v, SIGTERMs %v, cancels %v", k.killed, k.terminated, k.cancelled)
	t.Logf("a killed export began again within %v of the restart", k.slowestAgain.Round(time.Millisecond))
	t.Logf("%d jobs; the watcher got %d files, and was refused %d that were not there yet; %v in all", len(k.jobs), k.offered, k.refused, time.Since(begun).Round(time.Second))
	if phases := missed(); len(phases) > 0 {
		t.Errorf("no kill fell into: %v", phases)
	}
	if k.offered == 0 || k.refused == 0 {
		t.Error("the watcher saw nothing")
	}
	// A second is promised. A machine that is busy with other tests keeps the server
	// from its work for longer now and then.
	slices.Sort(k.latencies)
	if n := len(k.latencies); n > 0 {
		t.Logf("half of %d cancels took effect within %v, all within %v", n, k.latencies[n/2].Round(time.Millisecond), k.latencies[n-1].Round(time.Millisecond))
		if k.latencies[n*9/10] > time.Second || k.latencies[n-1] > 5*time.Second {
			t.Errorf("cancels took effect after %v", k.latencies)
		}
	}
}

// terminate is as kill, with SIGTERM: the exports in hand are given back, and leave
// nothing.
func (k *exportKiller) terminate(v *exportJob) {
	k.Helper()
	began := time.Now()
	k.stop() // fails the test after 10 seconds
	if took := time.Since(began); took > 5*time.Second {
		k.Errorf("stopped %v after SIGTERM", took)
	}
	log := k.log.String()
	if partial := k.partial(); len(partial) > 0 {
		k.Errorf("SIGTERM left %v", partial)
	}
	for _, j := range k.open() {
		if ended := strings.Contains(log, j.logged("export ended")); !ended && k.fresh(j) > 0 {
			k.Errorf("SIGTERM left files of %s", j)
		}
	}
	phase := "waiting"
	for _, said := range []string{"export given back, to be done again", "export ended"} {
		if strings.Contains(log, v.logged(said)) {
			phase = said
		}
	}
	k.terminated[phase]++
	k.again()
}

// kill kills the server, now and then while a job is made or cancelled, and starts
// it again.
func (k *exportKiller) kill(v *exportJob) {
	k.Helper()
	var asked sync.WaitGroup
	var made *exportJob // in what was perhaps not acknowledged
	switch k.random.IntN(4) {
	case 0:
		made = &exportJob{order: k.orders[k.random.IntN(len(k.orders))]}
		asked.Go(func() { k.create(made) })
		k.pause(4 * time.Millisecond)
	case 1:
		v.mayCancel()
		asked.Go(func() { k.askCancel(v) })
		k.pause(4 * time.Millisecond)
	}
	k.server.kill()
	asked.Wait()
	phase := k.phase(v)
	k.mayBe = nil
	if made != nil {
		if made.id == "" {
			k.mayBe = made
		} else {
			k.add(made)
		}
	}
	k.again()
	if err := k.look(v); err != nil {
		k.Errorf("%s: %v", v, err)
	}
	if phase == "publishing" && v.state() == "COMPLETED" && !k.said(v, "export begins") {
		phase = "ended" // though it did not come to say so
	}
	k.killed[phase]++
}

// again starts a server that is dead again, and checks that it has every job.
func (k *exportKiller) again() {
	k.Helper()
	log := k.log.String()
	for _, j := range k.jobs {
		if j.over && strings.Contains(log, j.logged("export begins")) {
			k.Errorf("%s had ended before the start, and was begun again", j)
		}
	}
	for _, path := range k.glob("objects/whole/exports/*") {
		j := k.owner(path)
		if j == nil {
			if k.mayBe == nil {
				k.Errorf("%s is of no job", path)
			}
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			k.Fatal(err)
		}
		if !slices.ContainsFunc(j.order.files, func(f offeredFile) bool { return f.Size == info.Size() }) {
			k.Errorf("%s has an object of %d bytes, and none of its files is that long", j, info.Size())
		}
		if !slices.Contains(j.left, path) {
			j.left = append(j.left, path)
		}
	}
	for _, j := range k.jobs {
		j.over = j.state() != ""
	}
	var interrupted []*exportJob
	for _, j := range k.open() {
		if strings.Contains(log, j.logged("export begins")) {
			interrupted = append(interrupted, j)
		}
	}
	k.checkErrors()
	k.workers = 1 + k.random.IntN(2)
	k.args = []string{"--api-rate", "0", "--export-workers", fmt.Sprint(k.workers)}
	k.server.log = nil // a life's log is long enough
	k.restart()
	started := time.Now()
	k.checkList()
	for _, j := range interrupted {
		if slices.Index(k.open(), j) != 0 {
			continue // it has ended, or another is first
		}
		k.until(j.String()+" is begun again", func() bool { return j.state() != "" || k.said(j, "export begins") })
		k.slowestAgain = max(k.slowestAgain, time.Since(started))
		if took := time.Since(started); took > 10*time.Second { // a lease is for 15
			k.Errorf("%s was begun again %v after the start", j, took)
		}
	}
}

// cancel cancels a job, that is worked on or waits, and sees it end.
func (k *exportKiller) cancel(v *exportJob) {
	k.Helper()
	if k.random.IntN(5) == 0 {
		v = k.jobs[len(k.jobs)-1] // it waits
	}
	phase, worked := k.phase(v), k.said(v, "export begins")
	partial := k.partial()
	v.mayCancel()
	done, err := k.askCancel(v)
	acknowledged := time.Now()
	if err != nil {
		k.Fatalf("cancel %s: %v", v, err)
	}
	if !done {
		k.cancelled["ended"]++
	} else {
		k.cancelled[phase]++
		if k.random.IntN(5) == 0 { // the server dies before the worker knows
			k.pause(300 * time.Millisecond)
			k.kill(v)
		} else {
			k.until("the cancel of "+v.String()+" takes effect", func() bool {
				if k.said(v, "export begins") && !k.letGo(v) || k.fresh(v) > 0 {
					return false
				}
				now := k.partial()
				return k.workers > 1 || !slices.ContainsFunc(partial, func(name string) bool { return slices.Contains(now, name) })
			})
			if worked {
				k.latencies = append(k.latencies, time.Since(acknowledged))
			}
		}
	}
	if err := k.look(v); err != nil {
		k.Errorf("%s: %v", v, err)
	}
	want := "COMPLETED"
	if done {
		want = "CANCELLED"
	}
	if got := v.state(); got != want {
		k.Errorf("%s is %q, and the cancelling says it is %s", v, got, want)
	}
}

// fill adds jobs, so that some always wait, and gives those that have not ended.
func (k *exportKiller) fill() (open []*exportJob) {
	k.Helper()
	for {
		if open = k.open(); len(open) >= 4 {
			return open
		}
		j := &exportJob{order: k.orders[k.random.IntN(len(k.orders))]}
		if err := k.create(j); err != nil {
			k.Fatal(err)
		}
		k.add(j)
	}
}

// await brings a moment about, and gives the job that it is a moment of. The oldest
// job is worked on first.
func (k *exportKiller) await(moment string, open []*exportJob) *exportJob {
	k.Helper()
	v := open[0]
	if moment == "any" {
		v = open[k.random.IntN(k.workers)]
		k.pause(v.order.took * 5 / 4)
		return v
	}
	ended := func() bool { return v.state() != "" || k.said(v, "export ended") }
	if moment == "claiming" || moment == "ended" {
		k.until(v.String()+" ends", ended)
		if moment == "claiming" {
			return open[slices.IndexFunc(open, func(j *exportJob) bool { return j == open[len(open)-1] || !k.said(j, "export begins") })]
		}
		k.pause(3 * time.Millisecond)
		return v
	}
	k.until(v.String()+" is begun", func() bool { return ended() || k.said(v, "export begins") })
	files := len(v.order.files)
	switch moment {
	case "reading":
		k.pause(5 * time.Millisecond) // it is short
	case "writing":
		k.until(v.String()+" is written", func() bool { return ended() || len(k.partial())+k.fresh(v) > 0 })
		k.pause(v.order.took / 2)
	case "publishing":
		k.until(v.String()+" is published", func() bool {
			return k.fresh(v) >= files || k.fresh(v) == files-1 && k.full(v, files-1) || ended()
		})
		k.pause(2 * time.Millisecond)
	}
	return v
}

// phase says what the work on a job is in, or was when the server died.
func (k *exportKiller) phase(v *exportJob) string {
	fresh := k.fresh(v)
	switch {
	case v.state() == "CANCELLED":
		return "cancelled"
	case v.state() != "" || k.said(v, "export ended"):
		return "ended"
	case !k.said(v, "export begins"):
		before := slices.DeleteFunc(k.open(), k.letGo)
		if slices.Index(before, v) < k.workers {
			return "claiming"
		}
		return "waiting"
	case fresh >= len(v.order.files):
		return "publishing"
	case fresh == len(v.order.files)-1 && k.full(v, fresh):
		return "publishing"
	case fresh+len(k.partial()) > 0:
		return "writing"
	}
	return "reading"
}

// drain sees all jobs end.
func (k *exportKiller) drain() {
	k.Helper()
	for _, j := range slices.Clone(k.jobs) {
		k.until(j.String()+" ends", func() bool {
			if err := k.look(j); err != nil {
				k.Fatal(err)
			}
			return j.state() != ""
		})
		if j.state() == "CANCELLED" && !j.cancel {
			k.Errorf("%s was cancelled by nobody", j)
		}
	}
	k.until("the last worker is done", func() bool { return len(k.partial()) == 0 })
	k.checkList()
}

// tidy checks that nothing is left that should not be. A crash may leave an object
// that no job has; it goes when it is an hour old.
func (k *exportKiller) tidy() {
	k.Helper()
	k.stop()
	old := time.Now().Add(-2 * time.Hour)
	found := k.glob("objects/whole/exports/*")
	for _, path := range found {
		if err := os.Chtimes(path, old, old); err != nil {
			k.Fatal(err)
		}
	}
	wanted, files := map[string]int{}, 0
	for _, j := range k.jobs {
		if j.state() == "COMPLETED" {
			wanted[j.id] = len(j.order.files)
			files += len(j.order.files)
		}
	}
	k.Logf("%d objects before the sweep, %d of them are needed", len(found), files)
	k.restart()
	k.until("there are the objects of the jobs that ended, and no others", func() bool {
		got := map[string]int{}
		for _, path := range k.glob("objects/whole/exports/*") {
			got[jobOf(path)]++
		}
		return maps.Equal(wanted, got)
	})
	k.checkList()
	for _, j := range k.jobs {
		if err := k.look(j); err != nil {
			k.Errorf("%s: %v", j, err)
		}
	}
	k.checkErrors()
	k.stop()
	var rest []string
	err := filepath.WalkDir(k.dir, func(path string, d os.DirEntry, err error) error {
		name, _ := filepath.Rel(k.dir, path)
		if err == nil && !d.IsDir() && !strings.HasPrefix(name, "objects/whole/exports/") {
			rest = append(rest, name)
		}
		return err
	})
	// SQLite and DuckDB take their logs away when they are closed.
	if diff := cmp.Diff([]string{"audit.log", "events.duckdb", "lock", "secret.key", "sesame.db"}, rest); err != nil || diff != "" {
		k.Errorf("the data folder: %v\n%s", err, diff)
	}
}

// watch downloads whatever is offered, and what is not yet, until stop is closed.
func (k *exportKiller) watch(stop <-chan struct{}) {
	random := rand.New(rand.NewPCG(1, 2))
	for {
		open, all := k.open(), k.all()
		if len(all) > 0 {
			open = append(open, all[random.IntN(len(all))])
		}
		for _, j := range open {
			select {
			case <-stop:
				return
			default:
			}
			k.look(j) // what goes wrong with the connection is the killer's doing
			time.Sleep(4 * time.Millisecond)
		}
	}
}

// look asks for a job and downloads what there is under the names of its files. It
// gives the errors of the connection, which others may be the cause of.
func (k *exportKiller) look(j *exportJob) error {
	before := j.state()
	r, err := k.reportOf(j)
	if err != nil {
		return err
	}
	k.note(j, before, r)
	for i, want := range j.order.files {
		name := j.name(r, i)
		url := k.door.ExportURL(j.id, name, time.Now())
		if r.JobStatus == "COMPLETED" && i < len(r.Files) {
			url = r.Files[i].Url
		}
		status, text, got, err := k.download(url)
		if err != nil {
			return err
		}
		switch {
		case status == http.StatusNotFound && strings.Contains(text, "<Code>NoSuchKey</Code>") && r.JobStatus != "COMPLETED":
			k.count(&k.refused)
		case status == http.StatusOK && r.JobStatus != "CANCELLED":
			k.count(&k.offered)
			if got.digest != want.digest || got.Size != want.Size || got.ChecksumCrc32c != want.ChecksumCrc32c {
				k.Errorf("%s: what was downloaded as %s has %d bytes, and undisturbed it has %d", j, name, got.Size, want.Size)
			}
			if r.JobStatus != "COMPLETED" { // it must be now
				before := j.state()
				if r, err = k.reportOf(j); err != nil {
					return err
				}
				k.note(j, before, r)
				if r.JobStatus != "COMPLETED" {
					k.Errorf("%s is %s, and its file was downloaded", j, r.JobStatus)
				}
			}
		default:
			k.Errorf("%s is %s, and downloading %s gives %d %.300s", j, r.JobStatus, name, status, text)
		}
	}
	return nil
}

// note takes in what a report says, of a job whose state before it was asked for is
// known.
func (k *exportKiller) note(j *exportJob, before string, r *offeredReport) {
	if before != "" && r.JobStatus != before {
		k.Errorf("%s was %s and is %s", j, before, r.JobStatus)
	}
	switch r.JobStatus {
	case "PROCESSING", "CANCELLED":
		if len(r.Files) > 0 {
			k.Errorf("%s is %s and has files", j, r.JobStatus)
		}
	case "COMPLETED":
		var got, want []offeredFile
		var rows int64
		for _, f := range r.Files {
			f.Url = ""
			got = append(got, f)
			rows += f.Rows
		}
		for i, f := range j.order.files {
			want = append(want, offeredFile{Name: j.name(r, i), Size: f.Size, Rows: f.Rows, ChecksumCrc32c: f.ChecksumCrc32c})
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(offeredFile{})); diff != "" || r.ExportedRecords != rows || r.ProcessedRecords != j.order.processed || r.ShareDone != 1 {
			k.Errorf("%s: %+v\nundisturbed and now:\n%s", j, r, diff)
		}
	default:
		k.Errorf("%s: %+v", j, r)
	}
	if r.JobStatus != "PROCESSING" {
		if known := j.is(r.JobStatus); known != r.JobStatus {
			k.Errorf("%s is %s and was %s", j, r.JobStatus, known)
		}
	}
}

// checkErrors looks for what the server must not have logged.
func (k *exportKiller) checkErrors() {
	k.Helper()
	for line := range strings.Lines(k.log.String()) {
		if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "panic") || strings.Contains(line, "ran into trouble") {
			k.Errorf("the server logged: %s", line)
		}
	}
}

var beforeExtension = regexp.MustCompile(`^[^.]*`)

// name is what the nth file of a job, from 0, is to be called.
func (j *exportJob) name(r *offeredReport, n int) string {
	at := time.UnixMilli(int64(r.CreatedTimestamp*1000 + 0.5)).UTC().Format("20060102_150405")
	name := "ses-metrics-" + at + "-" + j.id
	if r.ExportSourceType != "METRICS_DATA" {
		digest := sha256.Sum256([]byte(j.id))
		name = fmt.Sprintf("%s_%x", at, digest[:5])
	}
	if j.order.split > 0 {
		name += fmt.Sprintf("_%05d", n+1)
	}
	return name + beforeExtension.ReplaceAllString(j.order.files[n].Name, "")
}
