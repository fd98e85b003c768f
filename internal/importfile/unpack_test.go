package importfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// counted counts its reads. The race detector finds one after Close.
type counted struct {
	r     io.Reader
	reads int
}

func (c *counted) Read(p []byte) (int, error) {
	c.reads++
	return c.r.Read(p)
}

// TestCloseWhileUnpacking closes files after some items: the goroutine must have
// ended, and must leave the caller's reader alone from then on.
func TestCloseWhileUnpacking(t *testing.T) {
	text := "address\n" + strings.Repeat("someone@example.com\n", 100_000)
	for name, data := range map[string][]byte{"gzip": gzipped(t, text), "zstd": zstandard(t, text)} {
		for _, items := range []int{0, 1, 10_000, 100_000} {
			stored := &counted{r: iotest.OneByteReader(bytes.NewReader(data))}
			rd, err := Open(stored, CSV, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for range items {
				if _, err := rd.Next(); err != nil {
					t.Fatal(err)
				}
			}
			rd.Close()
			rd.Close()
			before := stored.reads
			if _, err := rd.Next(); err == nil || err == io.EOF {
				t.Errorf("%s: after Close: %v", name, err)
			}
			if stored.reads != before {
				t.Errorf("%s: %d reads after Close", name, stored.reads-before)
			}
			if whole := before > len(data)*9/10; whole != (items == 100_000) {
				t.Errorf("%s: %d of %d bytes were read for %d items", name, before, len(data), items)
			}
		}
	}
}

// TestUnpacker reads what ends in all ways: all of the data must come first.
func TestUnpacker(t *testing.T) {
	failure := errors.New("failure")
	for _, n := range []int{0, 1, pieceSize - 1, pieceSize, pieceSize + 1, 5*pieceSize + 7} {
		data := bytes.Repeat([]byte("0123456789"), n/10+1)[:n]
		for name, c := range map[string]struct {
			tail io.Reader
			want error
		}{
			"end":         {strings.NewReader(""), io.EOF},
			"failure":     {iotest.ErrReader(failure), failure},
			"no progress": {idle{}, io.ErrNoProgress},
		} {
			whole := &counted{r: io.MultiReader(bytes.NewReader(data), c.tail)}
			u := unpackAhead(whole, func() int64 { return int64(whole.reads) })
			got := make([]byte, n)
			if _, err := io.ReadFull(u, got); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: reading %d bytes gave %v", name, n, err)
			}
			for range 2 {
				if n, err := u.Read(make([]byte, 1)); n != 0 || err != c.want {
					t.Errorf("%s: then %d bytes and %v", name, n, err)
				}
			}
			u.close()
			if u.piece.consumed != int64(whole.reads) {
				t.Errorf("%s: %d was consumed at the end, want %d", name, u.piece.consumed, whole.reads)
			}
		}
	}
}

// idle gives nothing and does not end.
type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// TestUnpackerPanic lets a decompressor panic: the panic must come out of Read,
// where the caller can recover it, and not end the program.
func TestUnpackerPanic(t *testing.T) {
	u := unpackAhead(io.MultiReader(strings.NewReader("ab"), panics{}), func() int64 { return 0 })
	func() {
		defer func() {
			if p, _ := recover().(string); !strings.HasPrefix(p, "bad table\n") || !strings.Contains(p, "panics.Read") {
				t.Errorf("recovered %q", p)
			}
		}()
		for {
			if _, err := u.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
	}()
	u.close()
}

type panics struct{}

func (panics) Read([]byte) (int, error) { panic("bad table") }

// TestStopWhileUnpacking stops a compressed file half-way.
func TestStopWhileUnpacking(t *testing.T) {
	stopped := errors.New("stopped")
	var asked atomic.Int64
	data := gzipped(t, "address\n"+strings.Repeat("someone@example.com\n", 100_000))
	rd, err := Open(bytes.NewReader(data), CSV, Options{Stop: func() error {
		if asked.Add(1) > 5 {
			return stopped
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	items := 0
	for ; err == nil; items++ {
		_, err = rd.Next()
	}
	if _, again := rd.Next(); err != stopped || again != stopped || items < 1000 || items > 90_000 {
		t.Errorf("after %d items: %v, then %v", items, err, again)
	}
	rd.Close()
}

// TestPlainText compares with one byte at a time.
func TestPlainText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.SampledFrom([]string{"abcdefgh", "a", "~", " ", "\x1f", "\x00", "\"", "\\", "\x7f", "\x80", "\xff", "!", "#", "[", "]", "\xa2", "\xdc"})
		text := strings.Join(rapid.SliceOfN(part, 0, 12).Draw(t, "text"), "")
		want := strings.IndexFunc(text, func(c rune) bool { return c < ' ' || c >= 0x80 || c == '"' || c == '\\' })
		if want < 0 {
			want = len(text)
		}
		if got := plainText([]byte(text)); got != want {
			t.Fatalf("%q: %d, want %d", text, got, want)
		}
		want = strings.IndexFunc(text, func(c rune) bool { return c >= utf8.RuneSelf })
		if want < 0 {
			want = len(text)
		}
		if got := ascii([]byte(text)); got != want {
			t.Fatalf("%q: %d of ASCII, want %d", text, got, want)
		}
	})
}

// TestPlainItem compares with encoding/json whatever is taken for a plain item.
func TestPlainItem(t *testing.T) {
	for _, item := range []string{`"a@b.c"`, `{"address":"a@b.c"}`, `{"address": "a@b.c"}`} {
		if value, size := plainItem([]byte(item + ",")); string(value) != "a@b.c" || size != len(item) {
			t.Errorf("%s: %q of size %d", item, value, size)
		}
	}
	for _, item := range []string{`""`, `"a\n"`, "\"\t\"", "\"\xff\"", `{"address":"a","a":1}`, `{"address":1}`, `"a`, `a`, ``} {
		if value, size := plainItem([]byte(item + ",")); size != 0 || value != nil {
			t.Errorf("%s: %q of size %d", item, value, size)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		begin := rapid.SampledFrom([]string{`"`, `{"address":"`, `{"address": "`, `{"address":`, ""}).Draw(t, "begin")
		part := rapid.SampledFrom([]string{`{"address":"`, `"`, "a@b.c", " ", "\\n", "\t", "\u00e9", "\xff", `"}`, `" }`, "}", ",", `","a":1}`, `""`})
		text := begin + strings.Join(rapid.SliceOfN(part, 0, 6).Draw(t, "text"), "")
		value, size := plainItem([]byte(text))
		if size == 0 {
			if value != nil {
				t.Fatalf("%q: %q of size 0", text, value)
			}
			return
		}
		var want struct{ Address string }
		if text[0] == '"' {
			if err := json.Unmarshal([]byte(text[:size]), &want.Address); err != nil {
				t.Fatalf("%q: %v", text[:size], err)
			}
		} else if err := json.Unmarshal([]byte(text[:size]), &want); err != nil {
			t.Fatalf("%q: %v", text[:size], err)
		}
		if string(value) != strings.Trim(want.Address, " \t") || len(value) == 0 {
			t.Fatalf("%q: %q, want %q", text[:size], value, want.Address)
		}
	})
}

// TestStopWithoutText stops a file that goes on for long and unpacks to nothing.
func TestStopWithoutText(t *testing.T) {
	empty := gzipped(t, "")
	data := append(gzipped(t, "address\n"), bytes.Repeat(empty, 200_000)...)
	stopped := errors.New("stopped")
	var asked atomic.Int64
	rd, err := Open(bytes.NewReader(data), CSV, Options{Stop: func() error {
		if asked.Add(1) > 20 { // of some 60 reads of the stored bytes
			return stopped
		}
		return nil
	}})
	if err == nil {
		_, err = rd.Next()
		rd.Close()
	}
	if err != stopped || asked.Load() > 25 {
		t.Errorf("error %v after %d questions; the file has %d bytes", err, asked.Load(), len(data))
	}
}
