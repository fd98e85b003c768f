package address

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// plain reads b if it is a plain address, with its @ at at, or a plain domain, with
// at -1: ASCII letters and digits and, one at a time between them, dots, hyphens
// and the @, and in the local part also `_` and `+`. It leaves the key in p.key
// and, if capitals of the local part make them differ, the form to show in
// p.shown. It answers false for anything else, right or wrong.
//
// Nearly every entry is plain, so an import and a look-up spend their time here.
// It takes eight characters at a time, as the bytes of one word, and answers
// about all of them with the high bits of the bytes of another.
func (p *Parser) plain(b []byte, at int) bool {
	if len(b) < 8 || at > maxLocal || len(b)-at-1 > maxLabel {
		return false
	}
	p.key = slices.Grow(p.key, len(b)+8)
	out := p.key[:len(b)+8]
	before := uint64(0x80 << 56) // the separators in the word before; b stands between dots
	for i := 0; i <= len(b); i += 8 {
		var w uint64
		if i+8 <= len(b) {
			w = binary.LittleEndian.Uint64(b[i:])
		} else { // what is left, a dot, and letters to fill the word
			n := 8 * uint(len(b)-i)
			w = binary.LittleEndian.Uint64(b[len(b)-8:])>>(64-n) | 0x616161616161612E<<n
		}
		inLocal := uint64(1)<<(8*uint(max(at-i, 0))) - 1 // the characters before the @
		isAt := uint64(0x80) << (8 * uint(at-i))         // nothing, unless the @ is in this word

		letters := within(w|each*0x20, 'a', 'z')
		separators := within(w, '-', '.') | isAt
		good := letters | within(w, '0', '9') | separators |
			(within(w, '_', '_')|within(w, '+', '+'))&inLocal

		if w&highs != 0 || good != highs || separators&(separators<<8|before>>56) != 0 {
			return false
		}
		before = separators
		binary.LittleEndian.PutUint64(out[i:], w|letters>>2) // 0x80 >> 2 is what makes a letter small
	}
	// A last label of digits is for appendLabels to refuse, and so is a lone label.
	if class[b[len(b)-1]]&digit != 0 || bytes.IndexByte(b[at+1:], '.') < 0 {
		return false
	}
	p.key = out[:len(b)]
	if at >= 0 && !bytes.Equal(p.key[:at], b[:at]) {
		p.shown = append(p.shown, b[:at]...)
		p.shown = append(p.shown, p.key[at:]...)
	}
	return true
}

const (
	each  = 0x0101010101010101 // times a byte, the word of eight such bytes
	highs = each * 0x80
)

// within returns which bytes of w are from lo to hi, by their high bits. All are
// ASCII, so that no sum runs over into the next byte.
func within(w uint64, lo, hi byte) uint64 {
	return ((w + each*uint64(0x80-lo)) ^ (w + each*uint64(0x80-hi-1))) & highs
}
