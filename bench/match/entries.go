package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sesame/bench/yard"
)

// changes is how many entries become members one by one, after the others, so that
// they are beside the list's file and not in it.
const changes = 1000

// patternEvery is the distance of two patterns among the entries: one in a hundred.
const patternEvery = 100

// entries is what a list is filled with, in canonical form, and what it is asked.
type entries struct {
	sorted             []string // in ascending order
	patterns           int64    // how many of these are patterns
	late               []string // the changes
	positive, negative *questions
}

// questions are mailboxes that a list is asked for.
type questions struct {
	name  string
	text  string         // one behind the other
	ends  []uint32       // where in it each ends
	wants map[int]string // the entry that holds a question, where that is not its own text
	none  bool           // whether no entry holds any of them
}

// at gives a question.
func (q *questions) at(i int) string {
	if i == 0 {
		return q.text[:q.ends[0]]
	}
	return q.text[q.ends[i-1]:q.ends[i]]
}

// want gives the entry that holds a question.
func (q *questions) want(i int) string {
	if entry, ok := q.wants[i]; ok {
		return entry
	}
	return q.at(i)
}

// drop forgets the questions.
func (q *questions) drop() { *q = questions{name: q.name, none: q.none} }

// makeEntries makes different entries, one in a hundred a pattern, and so many
// questions of each sort. Positive ones are of entries chosen at random; negative
// ones are made as the addresses are, and at the same domains.
func makeEntries(rows, asked int, seed uint64) *entries {
	people := yard.NewPeople(seed, rows+asked)
	p := patterns{people: people, made: map[string]bool{}}
	all := make([]string, rows)
	for i := range all {
		if i%patternEvery == patternEvery-1 {
			all[i] = p.next()
		} else {
			all[i] = string(people.Next())
		}
	}

	positive := &questions{name: "positive", wants: map[int]string{}}
	var text strings.Builder
	for i := range asked {
		entry := all[people.Random.IntN(rows)]
		if isPattern(entry) {
			positive.wants[i] = entry
			entry = p.held(entry)
		}
		text.WriteString(entry)
		positive.ends = append(positive.ends, uint32(text.Len()))
	}
	positive.text = text.String()

	negative := &questions{name: "negative", none: true}
	text.Reset()
	for range asked {
		text.Write(people.Next())
		negative.ends = append(negative.ends, uint32(text.Len()))
	}
	negative.text = text.String()

	e := &entries{late: slices.Clone(all[:changes]), sorted: all[changes:], positive: positive, negative: negative}
	slices.Sort(e.sorted)
	for _, entry := range e.sorted {
		if isPattern(entry) {
			e.patterns++
		}
	}
	return e
}

// isPattern tells the patterns from the addresses, which hold no `*` here.
func isPattern(entry string) bool {
	return strings.Contains(entry, "*") || !strings.Contains(entry, "@")
}

// patterns makes patterns that hold no address of people.
type patterns struct {
	people *yard.People
	made   map[string]bool
}

// next gives a pattern that was not given before. All forms, and prefixes of all
// lengths, come equally often. A prefix is at a domain of people but starts with a
// digit, as none of their local parts does; the others are about domains of their
// own.
func (p *patterns) next() string {
	random := p.people.Random
	own := fmt.Sprintf("%s%d.example", p.people.Pick(words), 1000+len(p.made)) // people's never have four digits
	switch form := len(p.made) % 23; form {
	case 0:
		p.made[own] = true
		return own
	case 1:
		p.made["*."+own] = true
		return "*." + own
	case 2:
		entry := fmt.Sprintf("%s%d@*.%s", p.people.Pick(words), random.IntN(1000), own)
		p.made[entry] = true
		return entry
	case 3:
		p.made["*@"+own] = true
		return "*@" + own
	default:
		for {
			prefix := []byte{"0123456789"[random.IntN(10)]}
			for len(prefix) < form-3 { // from 1 to 19 characters
				prefix = append(prefix, "abcdefghijklmnopqrstuvwxyz0123456789"[random.IntN(36)])
			}
			entry := string(prefix) + "*@" + p.people.Domain()
			if !p.made[entry] { // short ones at large domains soon are
				p.made[entry] = true
				return entry
			}
		}
	}
}

// held gives an address that a pattern holds, and no other entry.
func (p *patterns) held(pattern string) string {
	user := fmt.Sprintf("%s%d", p.people.Pick(words), p.people.Random.IntN(1000))
	local, domain, address := strings.Cut(pattern, "@")
	above, wild := strings.CutPrefix(domain, "*.")
	switch {
	case !address && strings.HasPrefix(pattern, "*."):
		return user + "@mx." + pattern[2:]
	case !address:
		return user + "@" + pattern
	case wild:
		return local + "@mx." + above
	case local == "*":
		return user + "@" + domain
	}
	return strings.TrimSuffix(local, "*") + "+" + user + "@" + domain // no longer prefix has a plus
}

var words = strings.Fields("news shop team desk info jobs sales press stock trade")

// The files for postmap: the table and the questions.
const tableFile = "table"

func questionFile(name string) string { return name + ".questions" }

// writeTable writes what postmap reads: "entry OK" a line, and the questions.
// postmap knows no patterns, so where only a pattern holds a question it is asked
// for the pattern.
func (e *entries) writeTable(dir string) error {
	err := writeLines(filepath.Join(dir, tableFile), func(b *bufio.Writer) {
		for _, part := range [][]string{e.sorted, e.late} {
			for _, entry := range part {
				b.WriteString(entry)
				b.WriteString(" OK\n")
			}
		}
	})
	for _, q := range []*questions{e.positive, e.negative} {
		err = errors.Join(err, writeLines(filepath.Join(dir, questionFile(q.name)), func(b *bufio.Writer) {
			for i := range q.ends {
				b.WriteString(q.want(i))
				b.WriteByte('\n')
			}
		}))
	}
	return err
}

func writeLines(name string, write func(b *bufio.Writer)) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(file, 1<<20)
	write(b)
	return errors.Join(b.Flush(), file.Close()) // Flush gives the first error
}
