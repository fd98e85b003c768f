package extsort

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
)

// merge reads sorted runs as one sorted whole of distinct keys.
//
// It is a loser tree (Knuth, The Art of Computer Programming, volume 3, section
// 5.4.1): tree[0] is the run with the least key, tree[p] the loser of the match
// at the inner node p, whose children are the nodes 2p and 2p+1, where the nodes
// from len(cursors) on are the runs.
//
// Keys are compared by offset-value codes (Conner, Offset-value coding, IBM
// Technical Disclosure Bulletin 20(7), 1977), so that few matches look at a key.
type merge struct {
	buffers   int          // bytes for the buffers of all runs in files
	stop      func() error // asked from time to time
	cursors   []cursor
	tree      []player
	given     int    // records given
	key, last []byte // of the record given last and of the one before
	value     []byte // of the record given last
}

// player is the record at the front of a run as a number, less for a lesser key.
// It is relative to the key that won the last match at the same node. From the
// top it holds mostBlocks less the count of whole blocks of the key that are as
// in that winner, the block that follows, and the number of the run. A key that
// ends is filled up with zeros.
//
// Both keys of a match are no less than that winner. So the one that has more in
// common with it is the lesser; if they have as much, the blocks that follow
// tell. Relative to the new winner the loser is then the same number.
type player uint64

const (
	blockSize  = 5 // bytes
	runBits    = 11
	blockBits  = runBits + 8*blockSize
	mostBlocks = 1<<(64-blockBits) - 1 // more than a key has
)

// over is a player without a record, but for the run. A record may give it too.
const over = player(1<<64 - 1<<runBits)

// newPlayer gives the player of a key that begins with so many bytes of the
// winner.
func newPlayer(shared int, key []byte, run int) player {
	blocks := uint(shared) / blockSize
	return player(mostBlocks-blocks)<<blockBits | player(prefix(key[blocks*blockSize:])>>(64-8*blockSize)<<runBits) | player(run)
}

// shared gives how many bytes are in whole blocks as in the winner.
func (p player) shared() int { return (mostBlocks - int(p>>blockBits)) * blockSize }

func (p player) run() int { return int(p & (1<<runBits - 1)) }

// open begins to read runs. It keeps the buffers of the ones before.
func (m *merge) open(list []run) error {
	for len(m.cursors) < len(list) {
		m.cursors = append(m.cursors, cursor{})
	}
	m.cursors = m.cursors[:len(list)]
	if len(list) == 0 {
		return nil
	}
	buffer := min(max(m.buffers/len(list), leastBuffer), mostBuffer)
	for i, r := range list {
		if err := m.cursors[i].open(r, buffer); err != nil {
			return err
		}
	}
	m.tree = make([]player, len(list))
	m.tree[0] = m.winner(1)
	return nil
}

// winner plays the first matches of a node and those below it, relative to the
// empty key.
func (m *merge) winner(at int) player {
	if run := at - len(m.tree); run >= 0 {
		return m.cursors[run].player(run)
	}
	winner, loser := m.play(m.winner(2*at), m.winner(2*at+1))
	m.tree[at] = loser
	return winner
}

func (m *merge) next() (Record, error) {
	if m.given++; m.given%(1<<14) == 0 {
		if err := m.stop(); err != nil {
			return Record{}, err
		}
	}
	if len(m.cursors) == 0 {
		return Record{}, io.EOF
	}
	// Of equal keys the earliest run wins, which has the value added first.
	run := m.tree[0].run()
	c := &m.cursors[run]
	if c.done {
		return Record{}, io.EOF
	}
	m.key, m.last = append(m.last[:0], c.key...), m.key
	if m.value = m.value[:0]; len(c.value) > 0 {
		m.value = append(m.value, c.value...)
	}
	for {
		if err := c.advance(); err != nil {
			return Record{}, err
		}
		m.replay(c.player(run))
		top := m.tree[0]
		run = top.run()
		c = &m.cursors[run]
		// The top is relative to the record that is being given, and seldom has
		// all its whole blocks.
		if top.shared() != len(m.key)/blockSize*blockSize || c.done || !bytes.Equal(c.key, m.key) {
			return Record{Key: m.key, Value: m.value}, nil
		}
	}
}

// replay plays the matches of a run, whose record is new, up to the root.
func (m *merge) replay(p player) {
	tree := m.tree
	for at := (p.run() + len(tree)) / 2; at > 0; at /= 2 {
		other := tree[at]
		if p^other < 1<<runBits {
			p, tree[at] = m.playClose(p, other)
			continue
		}
		p, tree[at] = min(p, other), max(p, other)
	}
	tree[0] = p
}

// play gives winner and loser of a match.
func (m *merge) play(a, b player) (winner, loser player) {
	if a^b >= 1<<runBits {
		return min(a, b), max(a, b)
	}
	return m.playClose(a, b)
}

// playClose is play for keys that have as much in common with the last winner
// and the block that follows too. The loser has more in common with the new one.
func (m *merge) playClose(a, b player) (winner, loser player) {
	a, b = min(a, b), max(a, b) // of equal keys the earlier run wins
	ca, cb := &m.cursors[a.run()], &m.cursors[b.run()]
	switch {
	case ca.done:
		return b, a
	case cb.done:
		return a, b
	}
	shared := a.shared()
	ka, kb := ca.key[shared:], cb.key[shared:]
	n := common(ka, kb)
	if n < len(ka) && (n == len(kb) || ka[n] > kb[n]) {
		a, b, cb = b, a, ca
	}
	return a, newPlayer(shared+n, cb.key, b.run())
}

// common gives how many bytes two keys share at their beginnings.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// cursor is the record at the front of one run.
type cursor struct {
	run        run
	buffer     []byte // for reading the file
	ahead      []byte // what was read of the run and not passed: in buffer, or the run in memory
	done       bool
	shared     int // bytes of key that the one before it begins with too
	key, value []byte
}

// open puts the cursor on the first record of a run.
func (c *cursor) open(r run, buffer int) error {
	*c = cursor{run: r, buffer: c.buffer, ahead: r.mem, key: c.key[:0]}
	if r.file != nil && len(c.buffer) < buffer {
		c.buffer = make([]byte, buffer)
	}
	return c.advance()
}

// player gives the record for its first match, relative to the one before.
func (c *cursor) player(run int) player {
	if c.done {
		return over | player(run)
	}
	return newPlayer(c.shared, c.key, run)
}

// advance reads the next record of the run.
func (c *cursor) advance() error {
	for {
		n, err := c.decode(c.ahead)
		if n > 0 {
			c.ahead = c.ahead[n:]
			return nil
		}
		if err == nil && c.run.from == c.run.to {
			if len(c.ahead) == 0 {
				c.done = true
				return nil
			}
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			err = c.fill()
		}
		if err != nil {
			return fmt.Errorf("extsort: read a run: %w", err)
		}
	}
}

// fill reads on in the file.
func (c *cursor) fill() error {
	if len(c.ahead) == len(c.buffer) { // a record larger than the buffer
		c.buffer = append(slices.Clip(c.buffer), make([]byte, len(c.buffer))...)
		c.ahead = c.buffer[:len(c.ahead)]
	}
	have := copy(c.buffer, c.ahead)
	n := int(min(int64(len(c.buffer)-have), c.run.to-c.run.from))
	if got, err := c.run.file.ReadAt(c.buffer[have:have+n], c.run.from); got < n {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	c.run.from += int64(n)
	c.ahead = c.buffer[:have+n]
	return nil
}

var errDamaged = errors.New("the run is damaged")

// decode takes the record that data begins with and gives its size, or 0 if
// data ends before it does.
func (c *cursor) decode(data []byte) (n int, err error) {
	var shared, rest uint64
	if len(data) >= 2 && data[0]|data[1] < 0x80 {
		shared, rest, n = uint64(data[0]), uint64(data[1]), 2
	} else {
		var used int
		if shared, n = binary.Uvarint(data); n <= 0 {
			return 0, overflow(n)
		}
		if rest, used = binary.Uvarint(data[n:]); used <= 0 {
			return 0, overflow(used)
		}
		n += used
	}
	size, valued := rest>>1, rest&1 != 0
	if shared > uint64(len(c.key)) || shared+size > maxKey {
		return 0, errDamaged
	}
	if int(size) > len(data)-n {
		return 0, nil
	}
	suffix := data[n : n+int(size)]
	n += int(size)
	c.value = nil
	if valued {
		length, used := binary.Uvarint(data[n:])
		if used <= 0 {
			return 0, overflow(used)
		}
		n += used
		if length > uint64(len(data)-n) {
			return 0, nil
		}
		c.value = data[n : n+int(length)]
		n += int(length)
	}
	c.shared = int(shared)
	c.key = append(c.key[:shared], suffix...)
	return n, nil
}

// overflow tells a uvarint that is none from one that is cut short.
func overflow(used int) error {
	if used < 0 {
		return errDamaged
	}
	return nil
}
