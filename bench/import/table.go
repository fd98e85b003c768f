package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// table is everything that was measured; the runs of all things are in step.
type table struct {
	rows  int
	bytes int64 // of the addresses of all runs, line feeds included

	sesame, sort, postmap []figures
}

// print prints the table, and writes it to a file in the folder results too.
func (t *table) print(ctx context.Context, results string) error {
	commit, err := printed(ctx, "git", "describe", "--always", "--dirty", "--exclude=*")
	if err != nil {
		return err
	}
	date := time.Now().UTC().Format(time.DateOnly)
	facts, err := machine(ctx)
	if err != nil {
		return err
	}
	text := fmt.Appendf(nil, "Import benchmark of %s at commit %s\n%s\n\n", date, commit, facts)
	text = append(text, t.text()...)
	if _, err := os.Stdout.Write(text); err != nil || results == "" {
		return err
	}
	if err := os.MkdirAll(results, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(results, "import-"+date+"-"+commit+".txt"), text, 0o644)
}

func (t *table) text() []byte {
	var b bytes.Buffer
	p := message.NewPrinter(language.English) // groups digits
	rows := float64(t.rows)
	p.Fprintf(&b, "%d different addresses in random order, %.1f bytes a line. Runs: %d, each with fresh\naddresses and folders. Figures are the median (least–greatest).\n\n",
		t.rows, float64(t.bytes)/rows/float64(len(t.sesame)), len(t.sesame))

	const line = "%-18s %-31s %-31s %s\n"
	fmt.Fprintf(&b, line, "", "Sesame", "LC_ALL=C sort -u", "postmap lmdb:")
	for _, row := range []struct {
		name   string
		format string
		figure func(figures) float64
	}{
		{"seconds", "%.2f", func(f figures) float64 { return f.took.Seconds() }},
		{"rows/s", "%.0f", func(f figures) float64 { return rows / f.took.Seconds() }},
		{"CPU seconds", "%.2f", func(f figures) float64 { return f.cpu.Seconds() }},
		{"peak memory, MiB", "%.0f", func(f figures) float64 { return float64(f.peak) / (1 << 20) }},
		{"disk, bytes/row", "%.1f", func(f figures) float64 { return float64(f.disk) / rows }},
	} {
		fmt.Fprintf(&b, line, row.name, spread(p, row.format, t.sesame, row.figure),
			spread(p, row.format, t.sort, row.figure), spread(p, row.format, t.postmap, row.figure))
	}

	fmt.Fprintf(&b, "\nSesame's rows/s to those of sort -u:  %s\n", ratio(p, t.sesame, t.sort))
	fmt.Fprintf(&b, "Sesame's rows/s to those of postmap:  %s\n", ratio(p, t.sesame, t.postmap))
	fmt.Fprintf(&b, "Upload of the file, not in the above: %s s\n",
		spread(p, "%.2f", t.sesame, func(f figures) float64 { return f.upload.Seconds() }))

	b.WriteString(`
Sesame:  from StartAddressListImportJob to COMPLETED, through the API. Checks each address, makes it a member
         beside those the list has, durably with each batch, and can be resumed. Memory and CPU are the
         server's; disk is its whole data folder after it stopped.
sort -u: sorts into a file, on all cores, never durable.
postmap: makes an LMDB table, durable at the end. Its map size is set large enough for it not to start again.
Where the seconds are far above the CPU seconds, a program waited: for the disk, or for the CPU if something
else was running.
`)
	return b.Bytes()
}

// spread gives the median of a figure and between what it lies.
func spread(p *message.Printer, format string, runs []figures, figure func(figures) float64) string {
	var all []float64
	for _, f := range runs {
		all = append(all, figure(f))
	}
	return medianOf(p, format, all)
}

// ratio gives how much faster a was than b, run by run.
func ratio(p *message.Printer, a, b []figures) string {
	var all []float64
	for i := range a {
		all = append(all, b[i].took.Seconds()/a[i].took.Seconds())
	}
	return medianOf(p, "%.2f", all)
}

func medianOf(p *message.Printer, format string, all []float64) string {
	slices.SortFunc(all, cmp.Compare[float64])
	middle := (all[(len(all)-1)/2] + all[len(all)/2]) / 2
	return p.Sprintf(format+" ("+format+"–"+format+")", middle, all[0], all[len(all)-1])
}

// machine gives what the figures depend on, and nothing that names the machine.
func machine(ctx context.Context) (string, error) {
	kernel, err := printed(ctx, "uname", "-sr")
	if err != nil {
		return "", err
	}
	kernel = regexp.MustCompile(`^\S+ [0-9.]*[0-9]`).FindString(kernel) // without what a distributor or owner calls it
	memory, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return "", err
	}
	var kib float64
	if _, err := fmt.Sscanf(string(memory), "MemTotal: %f kB", &kib); err != nil {
		return "", err
	}
	sort, err := printed(ctx, "sort", "--version")
	if err != nil {
		return "", err
	}
	postfix, err := printed(ctx, "postconf", "-d", "-h", "mail_version")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d cores (%s), %.0f GiB memory, %s, %s; %s, Postfix %s",
		runtime.NumCPU(), runtime.GOARCH, kib/(1<<20), kernel, runtime.Version(), sort, postfix), nil
}

// printed gives the first line that a command prints.
func printed(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(first), nil
}
