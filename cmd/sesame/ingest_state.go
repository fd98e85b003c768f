package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// progressSuffix is what the name of a state's file ends in.
const progressSuffix = ".sesame-progress"

// ingestState is what a server has taken, by the names of files. It is kept as
// lines, of which the last of each file counts, so that a crash costs one at most.
type ingestState struct {
	files map[string]fileNote // by name, from earlier runs
	file  *os.File            // nil when nothing is kept
	noted bool                // something was sent, now or before
}

// fileNote says how far a file was sent.
type fileNote struct {
	Server string `json:",omitempty"` // of the first line: whose files these are
	File   string `json:",omitempty"`
	Head   string `json:",omitempty"` // of how it begins, to tell it from another by its name
	Size   int64  `json:",omitempty"` // as stored, when it was opened
	Offset int64  `json:",omitempty"` // of the text that it holds, unpacked
	Done   bool   `json:",omitempty"` // there was no more
}

// headBytes is of how much of a file fileNote.Head is.
const headBytes = 512

// openState reads what earlier runs noted, and begins anew when that was of another
// server or is not wanted.
func (c ingestSend) openState(key string) (*ingestState, error) {
	s := &ingestState{files: map[string]fileNote{}}
	path := c.State
	if path == "" {
		if c.From == "-" || !c.Resume {
			return s, nil
		}
		path = filepath.Clean(c.From) + progressSuffix
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666&^userUmask)
	if err != nil {
		return nil, fmt.Errorf("note how far it is: %w: choose another place with --state, or --no-resume", err)
	}
	s.file = f
	fail := func(err error) (*ingestState, error) {
		return nil, errors.Join(fmt.Errorf("read how far it was from %s: %w", path, err), f.Close())
	}
	server := fmt.Sprintf("%s %s %s", c.Endpoint, c.Region, key)
	whole, lines := int64(0), bufio.NewReader(f)
	for first := true; c.Resume; first = false {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			break // and what does not end was cut off
		}
		if err != nil {
			return fail(err)
		}
		var n fileNote
		if err := json.Unmarshal(line, &n); err != nil {
			return fail(fmt.Errorf("%w: is it another program's?", err))
		}
		if first && n.Server != server {
			break
		}
		whole += int64(len(line))
		s.files[n.File] = n
	}
	if err := f.Truncate(whole); err != nil {
		return fail(err)
	}
	if _, err := f.Seek(whole, io.SeekStart); err != nil {
		return fail(err)
	}
	if whole == 0 {
		if err := s.note([]fileNote{{Server: server}}); err != nil {
			return fail(err)
		}
	}
	s.noted = whole > 0
	return s, nil
}

// note notes what was acknowledged.
func (s *ingestState) note(notes []fileNote) error {
	if s.file == nil {
		return nil
	}
	var lines []byte
	for _, n := range notes {
		line, err := json.Marshal(n)
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	_, err := s.file.Write(lines)
	s.noted = true
	return err
}

// close ends the notes. The file stays for the next run when there is something in
// it.
func (s *ingestState) close() {
	if s.file == nil {
		return
	}
	s.file.Close()
	if !s.noted {
		os.Remove(s.file.Name())
	}
}
