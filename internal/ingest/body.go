package ingest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// gate counts bytes in hand.
type gate struct {
	mu   sync.Mutex
	used int64
}

// take takes n bytes if there are so many of most left.
func (g *gate) take(n, most int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n > most-g.used {
		return false
	}
	g.used += n
	return true
}

func (g *gate) give(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used -= n
}

// hold takes n bytes in hand until the request is done.
func (v *visit) hold(g *gate, n int64) error {
	most := v.InHand
	if g != &v.proved {
		most /= 4
	}
	if !g.take(n, most) {
		return refuse(busy, "The server has as much in hand as it can. Try again.")
	}
	v.held[g] += n
	return nil
}

func (v *visit) letGo(g *gate, n int64) {
	v.held[g] -= n
	g.give(n)
}

// sent is a body as it is sent, with an end to its length, its silences and its
// time.
type sent struct {
	v    *visit
	body io.Reader
	by   time.Time // the real clock's, whatever Now says
	err  error     // by which it ended, nil at its own end
}

func (s *sent) Read(p []byte) (int, error) {
	by := time.Now().Add(s.v.Idle)
	if s.by.Before(by) {
		by = s.by
	}
	// The server gives a whole request the time that an API request may take.
	if err := errors.Join(s.v.control.SetReadDeadline(by), s.v.control.SetWriteDeadline(by.Add(s.v.Idle))); err != nil {
		return 0, fmt.Errorf("set the deadlines of a request: %w", err)
	}
	n, err := s.body.Read(p)
	s.v.bytes += int64(n)
	switch {
	case s.v.bytes > s.v.door.stored:
		s.err = s.v.bodyTooLarge()
	case err == nil, err == io.EOF:
		return n, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.err = refuse(broken, "The request body did not come in time.")
	default:
		s.err = refuse(broken, "The request body broke off before its end.")
	}
	return n, s.err
}

func (v *visit) bodyTooLarge() error {
	return refuse(tooLarge, "The request body must have at most %d bytes, and at most %d unpacked.", v.door.stored, v.door.unpacked)
}

// open gives the body as it is sent.
func (v *visit) open() (*sent, error) {
	if v.r.ContentLength > v.door.stored {
		return nil, v.bodyTooLarge()
	}
	return &sent{v: v, body: v.r.Body, by: time.Now().Add(v.door.within)}, nil
}

// read gives the whole body, unpacked.
func (v *visit) read(g *gate) ([]byte, error) {
	in, err := v.open()
	if err != nil {
		return nil, err
	}
	data, err := v.unpack(in, v.r.ContentLength, g)
	if in.err != nil {
		return nil, in.err
	}
	return data, err
}

// unpack reads a body that has about size bytes, -1 when that is not known, and
// unpacks it if the request says that it is packed.
func (v *visit) unpack(in io.Reader, size int64, g *gate) ([]byte, error) {
	switch encoding := strings.ToLower(strings.TrimSpace(strings.Join(v.r.Header.Values("Content-Encoding"), ","))); encoding {
	case "", "identity":
		return v.readAll(in, size, g)
	case "gzip":
		const window = 64 << 10 // about what unpacking takes
		if err := v.hold(g, window); err != nil {
			return nil, err
		}
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, refuse(malformed, "The request body is not gzip, as its Content-Encoding says.")
		}
		data, err := v.readAll(z, 2*size, g)
		if refused := new(refusal); err != nil && !errors.As(err, &refused) {
			return nil, refuse(malformed, "The request body is gzip that is damaged or cut off.")
		}
		return data, err
	}
	return nil, refuse(malformed, "The Content-Encoding must be gzip or none.")
}

// leastBuffer is what even an empty body counts for.
const leastBuffer = 16 << 10

// readAll reads what has about size bytes, and holds what it takes.
func (v *visit) readAll(in io.Reader, size int64, g *gate) ([]byte, error) {
	most := v.door.unpacked + 1 // by which what is too large is told
	next := min(max(size+1, leastBuffer), most)
	if g != &v.proved {
		next = leastBuffer // a stranger who says much and sends nothing takes little
	}
	var data []byte
	for {
		if err := v.hold(g, next); err != nil {
			return nil, err
		}
		larger := make([]byte, len(data), next)
		copy(larger, data)
		v.letGo(g, int64(cap(data)))
		data = larger
		for len(data) < cap(data) {
			n, err := in.Read(data[len(data):cap(data)])
			data = data[:len(data)+n]
			switch {
			case int64(len(data)) == most:
				return nil, v.bodyTooLarge()
			case err == io.EOF:
				return data, nil
			case err != nil:
				return nil, err
			}
		}
		next = min(2*next, most)
	}
}

// holding is a body that is taken in hand as it is read.
type holding struct {
	io.ReadCloser
	in io.Reader
	v  *visit
	g  *gate
}

func (h *holding) Read(p []byte) (int, error) {
	n, err := h.in.Read(p)
	// Who reads it makes its buffer larger step by step.
	if held := h.v.hold(h.g, 2*int64(n)); held != nil {
		return 0, held
	}
	return n, err
}
