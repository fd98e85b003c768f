package events

import (
	"bytes"
	"iter"
)

var byteOrderMark = []byte("\xef\xbb\xbf")

// maxDepth is how many objects and lists of a record may be in each other. It also
// bounds how often the bytes after records that do not end are looked at.
const maxDepth = 32

// Records gives the records in what was received as one piece: JSON objects one a
// line, one behind the other, each over many lines, or in lists; with blank lines
// and byte order marks. Each is given as Decode takes it, as a part of data, and
// nothing is copied.
//
// What is no JSON object, or none that ends within MaxRecord bytes, is given too,
// up to the end of its line, or of its place in a list: Decode says what is wrong
// with it. What follows is not lost for that.
func Records(data []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		inList := false
		for len(data) > 0 {
			switch data[0] {
			case '[', ']':
				inList = data[0] == '['
				data = data[1:]
				continue
			case ' ', '\t', '\r', '\n', ',':
				data = data[1:]
				continue
			}
			if rest, ok := bytes.CutPrefix(data, byteOrderMark); ok {
				data = rest
				continue
			}
			n := objectEnd(data)
			if n == 0 {
				n = junkEnd(data, inList)
			}
			if !yield(bytes.TrimRight(data[:n:n], " \t\r\n")) {
				return
			}
			data = data[n:]
		}
	}
}

// objectEnd gives where the object ends that data begins with, 0 if it begins with
// none.
func objectEnd(data []byte) int {
	if data[0] != '{' {
		return 0
	}
	data = data[:min(len(data), MaxRecord)]
	depth := 0
	lists := uint64(0) // a bit for each depth: whether it is a list's
	last := byte(0)    // before this, white space left out
	for i := 0; i < len(data); i++ {
		c := data[i]
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		case '{', '[':
			// An object that begins a line where no value can be is the next record: the
			// one before it is torn.
			if depth > 0 && data[i-1] == '\n' && (lists&1 == 0 && last != ':' || lists&1 == 1 && last != ',' && last != '[') {
				return 0
			}
			if depth++; depth > maxDepth {
				return 0
			}
			lists <<= 1
			if c == '[' {
				lists |= 1
			}
		case '}', ']':
			if (c == ']') != (lists&1 == 1) {
				return 0
			}
			lists >>= 1
			if depth--; depth == 0 {
				return i + 1
			}
		case '"':
			n := textEnd(data[i:])
			if n == 0 {
				return 0
			}
			i += n - 1
		}
		last = c
	}
	return 0
}

// textEnd gives where the JSON string ends that data begins with, 0 if it does not.
// A line does not end in a JSON string, so one that is not closed holds up nothing.
func textEnd(data []byte) int {
	if data[0] != '"' {
		return 0
	}
	for i := 1; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			i++
		case c < ' ':
			return 0
		}
	}
	return 0
}

// junkEnd gives where what is no object ends.
func junkEnd(data []byte, inList bool) int {
	ends := "\n"
	if inList && data[0] != '{' {
		if n := textEnd(data); n > 0 {
			return n
		}
		ends = "\n,]"
	}
	if n := bytes.IndexAny(data, ends); n > 0 {
		return n
	}
	return len(data)
}
