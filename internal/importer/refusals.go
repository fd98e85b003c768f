package importer

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// refusals lists the lines of a file that are no entries: a CSV of line number,
// value, code and plain words, written to a file of a folder that is removed
// with the job's other scratch data.
type refusals struct {
	dir    string
	lines  int64
	counts map[string]int64 // by code

	file   *os.File
	buffer *bufio.Writer
	csv    *csv.Writer
}

// shownValue is how many bytes of a refused value are listed, and mostListed how
// many lines, so that a small file of nothing else cannot fill the disk.
const (
	shownValue = 320
	mostListed = 1_000_000
)

func (l *refusals) add(line int64, value []byte, code, words string) error {
	if l.file == nil {
		f, err := os.CreateTemp(l.dir, "refused-*.csv")
		if err != nil {
			return fmt.Errorf("list a refused line: %w", err)
		}
		l.file, l.buffer = f, bufio.NewWriterSize(f, 64<<10)
		l.csv = csv.NewWriter(l.buffer)
		l.csv.Write([]string{"line", "value", "code", "reason"})
	}
	l.lines++
	l.counts[code]++
	if l.lines > mostListed {
		return nil
	}
	shown := strings.ToValidUTF8(string(value[:min(len(value), shownValue)]), "\ufffd")
	if err := l.csv.Write([]string{strconv.FormatInt(line, 10), shown, code, words}); err != nil {
		return fmt.Errorf("list a refused line: %w", err)
	}
	return nil
}

// content gives the whole list from its beginning.
func (l *refusals) content() (io.Reader, error) {
	if more := l.lines - mostListed; more > 0 {
		l.csv.Write([]string{"", "", "more", fmt.Sprintf("%d more lines were refused and are not listed", more)})
	}
	l.csv.Flush()
	if err := l.csv.Error(); err != nil {
		return nil, fmt.Errorf("list the refused lines: %w", err)
	}
	if err := l.buffer.Flush(); err != nil {
		return nil, fmt.Errorf("list the refused lines: %w", err)
	}
	_, err := l.file.Seek(0, io.SeekStart)
	return l.file, err
}

func (l *refusals) close() {
	if l.file != nil {
		l.file.Close()
	}
}
