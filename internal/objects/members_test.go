package objects_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sesame/internal/address"
	"sesame/internal/importfile"
	"sesame/internal/listfile"
	"sesame/internal/lists"
)

// withLists has the door read members from a real lists.Service, which it gives.
func (h *house) withLists() *lists.Service {
	l := &lists.Service{Store: h.db, Dir: h.t.TempDir(), Limits: lists.Limits{Lists: 10, Members: 1000, Tags: 10},
		Now: time.Now, NewID: h.imports.NewID, Discard: h.imports.Discard, Log: h.door.Log}
	h.door.Members = func(ctx context.Context, account, list string, do func([]byte) error) (bool, error) {
		err := l.Each(ctx, lists.Owner{Account: account, Region: ann.Region}, list, func(r listfile.Row) error {
			if r.Shown != nil {
				return do(r.Shown)
			}
			return do(r.Key)
		})
		return !errors.Is(err, lists.ErrNotFound), err
	}
	return l
}

// entries are of every kind that a file could get wrong.
var entries = []string{
	"plain@example.com", "MiXed@example.com", "example.org", "*.wild.example", "*@all.example", "pre*@some.example", "local@*.deep.example",
	`"a, b"@example.com`, `"a \" b"@example.com`, `"back\\slash"@example.com`, `"semi;colon"@example.com`, `" blank "@example.com`,
	"=1+2@example.com", "+x@example.com", "-x@example.com", "'x@example.com", "#x@example.com", "address@example.com", "{x}@example.com",
	"Üñï@bücher.example", "名前@例え.テスト", "&x@example.com", "a.b/c@example.com",
}

// What comes out of a list is what was put in, in order of key, in every form,
// and an import's reader takes it as it is.
func TestMembers(t *testing.T) {
	h := open(t)
	l := h.withLists()
	for round, want := range [][]string{{}, entries} {
		for _, e := range want {
			if err := l.Register(h.ctx, ann, h.list, e); err != nil {
				t.Fatalf("%s: %v", e, err)
			}
		}
		var keys []string
		for _, e := range want {
			parsed, err := address.Parse(e)
			h.must(err)
			keys = append(keys, string(parsed.Key))
		}
		slices.Sort(keys)
		for _, c := range []struct {
			end, contentType string
			format           importfile.Format
		}{
			{".csv", "text/csv; charset=utf-8", importfile.CSV},
			{".json", "application/json", importfile.JSON},
			{".csv.gz", "application/gzip", importfile.CSV},
			{".json.gz", "application/gzip", importfile.JSON},
		} {
			to := h.door.MembersURL(ann.Account, h.list, "block.json.list"+c.end, h.door.Now())
			got := h.send(http.MethodGet, to, nil, nil)
			head := h.send(http.MethodHead, to, nil, nil)
			for _, a := range []answer{got, head} {
				if a.status != 200 || a.header.Get("Content-Type") != c.contentType || a.header.Get("Content-Encoding") != "" ||
					a.header.Get("Content-Disposition") != `attachment; filename="block.json.list`+c.end+`"` {
					t.Errorf("%s: %d %v", c.end, a.status, a.header)
				}
			}
			if head.body != "" || strings.HasPrefix(got.body, "\x1f\x8b") != strings.HasSuffix(c.end, ".gz") {
				t.Errorf("%s: HEAD gave %q, GET %.100q", c.end, head.body, got.body)
			}
			file, err := importfile.Open(strings.NewReader(got.body), c.format, importfile.Options{})
			h.must(err)
			var read []string
			for {
				item, err := file.Next()
				if err == io.EOF {
					break
				}
				h.must(err)
				e, err := address.Parse(string(item.Value))
				if item.Bad != "" || err != nil {
					t.Fatalf("%s: %q %s %v", c.end, item.Value, item.Bad, err)
				}
				read = append(read, string(e.Key))
				if m, err := l.Member(h.ctx, ann, h.list, string(item.Value)); err != nil || m.Address != string(item.Value) {
					t.Errorf("%s: %q is shown as %q: %v", c.end, item.Value, m.Address, err)
				}
			}
			file.Close()
			if !slices.Equal(read, keys) {
				t.Errorf("%s: read %q, want %q", c.end, read, keys)
			}
		}
		if n := strings.Count(h.audit.String(), `"msg":"download"`); n != 4*(round+1) {
			t.Errorf("%d audit lines:\n%s", n, h.audit.String())
		}
	}
	if strings.ContainsAny(h.audit.String(), "@") || strings.Contains(h.audit.String(), "X-Amz-Signature") {
		t.Errorf("an address or a signature is in the audit log:\n%s", h.audit.String())
	}
}

func TestMembersRefused(t *testing.T) {
	h := open(t)
	l := h.withLists()
	to := h.door.MembersURL(ann.Account, h.list, "list.csv", h.door.Now())
	h.refused(h.send(http.MethodPut, to, nil, nil), 404, "NoSuchKey")
	h.refused(h.send(http.MethodGet, strings.Replace(to, "list.csv", "list.json", 1), nil, nil), 403, "SignatureDoesNotMatch")
	h.refused(h.send(http.MethodGet, strings.Replace(to, ann.Account, "222222222222", 1), nil, nil), 403, "SignatureDoesNotMatch")
	h.refused(h.send(http.MethodGet, strings.Replace(to, "/members/", "/refused/", 1), nil, nil), 403, "SignatureDoesNotMatch")
	h.refused(h.send(http.MethodGet, h.door.MembersURL("222222222222", h.list, "list.csv", h.door.Now()), nil, nil), 404, "NoSuchKey")
	h.door.Downloads <- struct{}{}
	h.door.Downloads <- struct{}{}
	h.refused(h.send(http.MethodGet, to, nil, nil), 503, "SlowDown")
	<-h.door.Downloads
	<-h.door.Downloads

	h.must(l.Delete(h.ctx, ann, h.list))
	for _, end := range []string{".csv", ".json.gz"} {
		gone := h.send(http.MethodGet, h.door.MembersURL(ann.Account, h.list, "list"+end, h.door.Now()), nil, nil)
		h.refused(gone, 404, "NoSuchKey")
		if gone.header.Get("Content-Disposition") != "" {
			t.Errorf("an error is called a file: %v", gone.header)
		}
	}
	if head := h.send(http.MethodHead, to, nil, nil); head.status != 404 {
		t.Errorf("HEAD: %d", head.status)
	}
	h.pass(13 * time.Hour)
	h.refused(h.send(http.MethodGet, to, nil, nil), 403, "AccessDenied")
}

// Trouble in the middle is a transfer that breaks off, and before it an error.
func TestMembersBreakOff(t *testing.T) {
	trouble := errors.New("the disk is away")
	for _, end := range []string{".csv", ".json", ".csv.gz", ".json.gz"} {
		h := open(t)
		for _, members := range []int{0, 50_000} {
			h.door.Members = func(_ context.Context, _, _ string, do func([]byte) error) (bool, error) {
				for n := range members {
					if err := do(fmt.Appendf(nil, "user%d@example.com", n*7919)); err != nil {
						return true, err
					}
				}
				return true, trouble
			}
			got, err := http.Get(h.door.MembersURL(ann.Account, h.list, "list"+end, h.door.Now()))
			h.must(err)
			text, err := io.ReadAll(got.Body)
			got.Body.Close()
			if members == 0 {
				h.must(err)
				h.refused(answer{got.StatusCode, got.Header, string(text)}, 500, "InternalError")
			} else if err == nil {
				t.Errorf("%s: %d bytes came as if they were all", end, len(text))
			}
			if strings.Count(h.logged(), "the disk is away") != 1 && members == 0 {
				t.Errorf("%s: the log:\n%s", end, h.logged())
			}
		}
	}
}

// A download may take longer than any other request, if its client takes some of
// it now and then; one that takes nothing is given up.
func TestSlowDownload(t *testing.T) {
	const members = 40_000
	for _, takes := range []bool{true, false} {
		bubble(t, fmt.Sprintf("takes=%v", takes), func(h *house, client net.Conn) {
			h.door.Members = func(ctx context.Context, _, _ string, do func([]byte) error) (bool, error) {
				for range members {
					if err := do([]byte("somebody@example.com")); err != nil {
						return true, err
					}
				}
				return true, ctx.Err()
			}
			u, err := url.Parse(h.door.MembersURL(ann.Account, h.list, "list.csv", h.door.Now()))
			h.must(err)
			fmt.Fprintf(client, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", u.RequestURI(), u.Host)
			begin := time.Now()
			if !takes {
				<-h.served
				if took := time.Since(begin); took != time.Minute {
					h.t.Errorf("it was given up after %v", took)
				}
				return
			}
			slow := &slowly{client, 70_000, 0}
			a := h.read(slow)
			<-h.served
			if n := bytes.Count([]byte(a.body), []byte("somebody@example.com\n")); n != members || time.Since(begin) < 5*time.Minute {
				h.t.Errorf("%d members in %v", n, time.Since(begin))
			}
		})
	}
}

// slowly reads with a pause of 50 seconds every so many bytes.
type slowly struct {
	net.Conn
	every, n int
}

func (s *slowly) Read(p []byte) (int, error) {
	if s.n >= s.every {
		time.Sleep(50 * time.Second)
		s.n = 0
	}
	n, err := s.Conn.Read(p)
	s.n += n
	return n, err
}

// Over HTTP/1.0 a download that breaks off would look whole, so there is none.
func TestNoDownloadOverHTTP10(t *testing.T) {
	h := open(t)
	l := h.withLists()
	h.must(l.Register(h.ctx, ann, h.list, "a@example.com"))
	to, err := url.Parse(h.door.MembersURL(ann.Account, h.list, "list.csv", h.door.Now()))
	h.must(err)
	conn, err := net.Dial("tcp", to.Host)
	h.must(err)
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", to.RequestURI(), to.Host)
	answer, err := io.ReadAll(conn)
	h.must(err)
	if !strings.Contains(string(answer), " 505 ") || !strings.Contains(string(answer), "<Code>HTTPVersionNotSupported</Code>") || strings.Contains(string(answer), "a@example.com") {
		t.Errorf("%s", answer)
	}
}

// A panic is logged under the request's id, and the client sees the download
// broken off.
func TestPanicInDoor(t *testing.T) {
	h := open(t)
	h.door.Members = func(_ context.Context, _, _ string, do func([]byte) error) (bool, error) {
		for range 20_000 {
			if err := do([]byte("someone@example.com")); err != nil {
				return true, err
			}
		}
		panic("a mistake")
	}
	answer, err := http.Get(h.door.MembersURL(ann.Account, h.list, "list.csv", h.door.Now()))
	if err == nil {
		_, err = io.ReadAll(answer.Body)
		answer.Body.Close()
	}
	if err == nil || !strings.Contains(h.log.String(), "a mistake") || !strings.Contains(h.log.String(), "request_id") {
		t.Errorf("error %v, log:\n%s", err, h.log.String())
	}
}
