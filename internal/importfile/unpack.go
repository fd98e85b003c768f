package importfile

import "io"

// unpacker reads what unpacks a file in a goroutine of its own, some buffers
// ahead of who reads it. The reading of the file and its unpacking are the
// goroutine's alone until its end.
type unpacker struct {
	full  chan piece
	free  chan []byte
	quit  chan struct{} // closed when nobody reads any more
	ended chan struct{} // closed when the goroutine has ended

	piece        // the one being read
	left  []byte // what was not read of its data
}

// piece is what was unpacked next.
type piece struct {
	data     []byte
	consumed int64 // of the stored file, in bytes, for all up to here
	err      error // what follows the data, if anything does
}

const (
	pieces    = 3
	pieceSize = 128 << 10
)

// unpackAhead begins to read r. Consumed is asked after each piece.
func unpackAhead(r io.Reader, consumed func() int64) *unpacker {
	u := &unpacker{full: make(chan piece, pieces), free: make(chan []byte, pieces), quit: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(u.ended)
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
			u.full <- piece{buf[:n], consumed(), err}
			if err != nil {
				return
			}
		}
	}()
	return u
}

// fill reads until the buffer is full, or an error, or quit.
func (u *unpacker) fill(r io.Reader, buf []byte) (n int, err error) {
	for idle := 0; n < len(buf) && err == nil; {
		select {
		case <-u.quit:
			return n, io.ErrClosedPipe // read by nobody
		default:
		}
		var got int
		got, err = r.Read(buf[n:])
		n += got
		if idle++; got > 0 {
			idle = 0
		}
		if idle == 100 && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

func (u *unpacker) Read(p []byte) (int, error) {
	for len(u.left) == 0 {
		if u.err != nil {
			return 0, u.err
		}
		if u.data != nil {
			u.free <- u.data[:pieceSize]
		}
		u.piece = <-u.full
		u.left = u.data
	}
	n := copy(p, u.left)
	u.left = u.left[n:]
	return n, nil
}

// close waits for the goroutine. Afterwards nothing may be read.
func (u *unpacker) close() {
	close(u.quit)
	<-u.ended
}
