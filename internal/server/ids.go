package server

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"time"
)

var idAlphabet = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// newID makes an id of a prefix, a dash and 26 letters and digits: the
// millisecond, so that later ids are greater, and 80 random bits.
func newID(prefix string) string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	random := [2]byte{b[6], b[7]}
	binary.BigEndian.PutUint64(b[:8], uint64(time.Now().UnixMilli())<<16)
	copy(b[6:8], random[:])
	return prefix + "-" + idAlphabet.EncodeToString(b[:])
}

// newRequestID makes a random UUID.
func newRequestID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
