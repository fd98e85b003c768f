package importfile

import (
	"fmt"
	"io"
	"runtime/debug"
)

// unpacker reads what unpacks a file in a goroutine of its own, a few buffers
// ahead of who reads it. What it reads from is that goroutine's alone until
// close.
type unpacker struct {
	full  chan piece
	free  chan []byte
	quit  chan struct{} // closed when nobody reads any more
	ended chan struct{} // closed when the goroutine has ended

	piece piece  // the one that is being read
	left  []byte // of its data
}

// piece is what was unpacked next.
type piece struct {
	data     []byte
	consumed int64  // stored bytes that were read for all up to its end
	err      error  // what follows the data, if anything does
	panicked string // what the unpacking panicked with
}

const (
	pieces    = 3
	pieceSize = 128 << 10
)

// unpackAhead begins to read r. After each piece it asks how many stored bytes
// were consumed.
func unpackAhead(r io.Reader, consumed func() int64) *unpacker {
	u := &unpacker{full: make(chan piece, pieces), free: make(chan []byte, pieces), quit: make(chan struct{}), ended: make(chan struct{})}
	go u.unpack(r, consumed)
	return u
}

func (u *unpacker) unpack(r io.Reader, consumed func() int64) {
	defer close(u.ended)
	defer func() {
		// Nobody could recover it here: it goes on where the piece is read.
		if p := recover(); p != nil {
			u.full <- piece{panicked: fmt.Sprintf("%v\n%s", p, debug.Stack())}
		}
	}()
	for made := 0; ; {
		var buf []byte
		if made < pieces && len(u.free) == 0 {
			made++
			buf = make([]byte, pieceSize)
		} else {
			select {
			case buf = <-u.free:
			case <-u.quit:
				return
			}
		}
		n, err := u.fill(r, buf)
		u.full <- piece{data: buf[:n], consumed: consumed(), err: err}
		if err != nil {
			return
		}
	}
}

// fill reads until the buffer is full, or until an error, or quit.
func (u *unpacker) fill(r io.Reader, buf []byte) (n int, err error) {
	for tries := 0; n < len(buf) && err == nil; tries++ {
		select {
		case <-u.quit:
			return n, io.ErrClosedPipe // which nobody reads
		default:
		}
		if tries == 100 {
			return n, io.ErrNoProgress
		}
		var more int
		if more, err = r.Read(buf[n:]); more > 0 {
			n, tries = n+more, 0
		}
	}
	return n, err
}

func (u *unpacker) Read(p []byte) (int, error) {
	for len(u.left) == 0 {
		if u.piece.err != nil {
			return 0, u.piece.err
		}
		if u.piece.data != nil {
			u.free <- u.piece.data[:pieceSize]
		}
		u.piece = <-u.full
		if u.piece.panicked != "" {
			panic(u.piece.panicked)
		}
		u.left = u.piece.data
	}
	n := copy(p, u.left)
	u.left = u.left[n:]
	return n, nil
}

// close ends the goroutine and waits for it. Nothing may be read afterwards.
func (u *unpacker) close() {
	close(u.quit)
	<-u.ended
}
