package lists

import (
	"io"
	"slices"
	"strings"

	"sesame/internal/listfile"
)

// walker gives the members of a state in order of key: the rows of its file with
// the changes over them.
type walker struct {
	file    *listfile.Cursor // nil when there is none or it has ended
	row     listfile.Row     // its next, if have
	have    bool
	broken  error     // why there are no rows to walk
	changes []*Change // to come
}

// walk begins with the first member whose key is from or greater, or greater
// only if after is true.
func (s *state) walk(from []byte, after bool) *walker {
	at, ok := s.changed(from)
	if ok && after {
		at++
	}
	w := &walker{changes: s.changes[at:], broken: s.broken}
	if s.file != nil {
		w.file = s.file.Walk(from, after)
	}
	return w
}

// next gives the next member, io.EOF after the last. Its slices are valid until
// the next call.
func (w *walker) next() (listfile.Row, error) {
	if w.broken != nil {
		return listfile.Row{}, w.broken
	}
	for {
		if !w.have && w.file != nil {
			row, err := w.file.Next()
			switch {
			case err == io.EOF:
				w.file = nil
			case err != nil:
				return listfile.Row{}, err
			default:
				w.row, w.have = row, true
			}
		}
		if len(w.changes) == 0 {
			if !w.have {
				return listfile.Row{}, io.EOF
			}
			w.have = false
			return w.row, nil
		}
		c := w.changes[0]
		if w.have {
			order := strings.Compare(string(w.row.Key), c.Key)
			if order < 0 {
				w.have = false
				return w.row, nil
			}
			if order == 0 {
				w.have = false // the change goes before it
			}
		}
		w.changes = w.changes[1:]
		if !c.Removed {
			return c.row(), nil
		}
	}
}

// since gives the changes with a number above seq.
func (s *state) since(seq int64) []*Change {
	return slices.DeleteFunc(slices.Clone(s.changes), func(c *Change) bool { return c.Seq <= seq })
}
