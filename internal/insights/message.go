package insights

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"sesame/internal/events"
)

// Message is what is known of a message. Text that SES did not give is empty.
type Message struct {
	ID         string
	From       string // address
	Subject    string
	Tags       []Tag       // by name
	Recipients []Recipient // by their first event; at least one
}

// Tag is one value of one of a message's tags, SES's own among them.
type Tag struct{ Name, Value string }

// Recipient is what happened to a message on its way to one recipient, and there.
type Recipient struct {
	Address string // "" when SES did not say whom its events are about
	ISP     string
	Events  []events.Event // oldest first; at least one; what eventdb.Store's Message leaves out is empty
}

// Message gives what is known of a message. ErrVDMDisabled, which is looked at
// first; ErrNotFound.
func (s *Service) Message(ctx context.Context, src events.Source, id string) (Message, error) {
	if err := s.MustBeEnabled(ctx, src); err != nil {
		return Message{}, err
	}
	all, err := s.Events.Message(ctx, src, id)
	if err != nil {
		return Message{}, err
	}
	if s.LikeSES {
		since := s.Now().AddDate(0, 0, -messageDays)
		all = slices.DeleteFunc(all, func(e events.Event) bool { return e.Multi || e.Simulator || e.Sent.Before(since) })
	}
	if len(all) == 0 {
		return Message{}, ErrNotFound
	}

	m := Message{ID: id}
	place := map[string]int{} // of a recipient in m.Recipients
	for _, e := range all {
		if m.From == "" {
			m.From = e.From
		}
		if m.Subject == "" {
			m.Subject = e.Subject
		}
		i, known := place[e.Destination]
		if !known {
			i = len(m.Recipients)
			place[e.Destination] = i
			m.Recipients = append(m.Recipients, Recipient{Address: e.Destination, ISP: e.ISP})
		}
		m.Recipients[i].Events = append(m.Recipients[i].Events, e)
	}
	m.Tags, err = tags(all)
	return m, err
}

// tags gives the tags of all events: later ones have some of SES's that the first
// did not have, such as ses:outgoing-ip.
func tags(all []events.Event) ([]Tag, error) {
	values := map[string][]string{}
	read := map[string]bool{"": true} // events of a message mostly have the same
	for _, e := range all {
		if read[e.Tags] {
			continue
		}
		read[e.Tags] = true
		var of map[string][]string
		if err := json.Unmarshal([]byte(e.Tags), &of); err != nil {
			return nil, fmt.Errorf("read the tags of a stored event: %w", err)
		}
		for name, some := range of {
			for _, value := range some {
				if !slices.Contains(values[name], value) {
					values[name] = append(values[name], value)
				}
			}
		}
	}
	var flat []Tag
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, value := range values[name] {
			flat = append(flat, Tag{name, value})
		}
	}
	return flat, nil
}
