package iam

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// Whatever the document, Parse neither panics nor writes an error of more than
// one line. What it accepts it accepts again without its white space, as the
// same policy; that policy decides quickly, and never otherwise than a policy
// of the same statements under one more Deny or Allow may.
func FuzzPolicy(f *testing.F) {
	f.Add([]byte(AdministratorPolicy), "ses:GetAddressList", list1, "a", "b")
	f.Fuzz(func(t *testing.T, doc []byte, action, resource, tagKey, tagValue string) {
		p, err := Parse(doc)
		if err != nil {
			if s := err.Error(); p != nil || strings.ContainsAny(s, "\r\n") || !utf8.ValidString(s) || len(s) > 1000 {
				t.Errorf("error %q beside %v", s, p)
			}
			return
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, doc); err != nil {
			t.Fatalf("accepted, but no JSON: %v", err)
		}
		again, err := Parse(compact.Bytes())
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("without white space: %v, %+v, not %+v", err, again, p)
		}

		// Longer ones do not get past the wire edge.
		if len(action) > 2048 || len(resource) > 2048 || len(tagKey) > 512 || len(tagValue) > 1024 {
			return
		}
		r := Request{
			Action: action, Resource: resource, TagKeys: []string{tagValue},
			RequestTags:  map[string]string{tagKey: tagValue},
			ResourceTags: map[string]string{tagKey: tagValue},
		}
		start := time.Now()
		got := p.Decide(r)
		// The longest policy needs a tenth of a second; backtracking without
		// bounds would need years.
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("Decide took %v", took)
		}

		everything, err := Parse([]byte(AdministratorPolicy))
		if err != nil {
			t.Fatal(err)
		}
		wider := &Policy{statements: append(everything.statements, p.statements...)}
		if want := max(got, Allow); wider.Decide(r) != want {
			t.Errorf("%v became %v when everything was allowed", got, wider.Decide(r))
		}
		everything.statements[0].deny = true
		narrower := &Policy{statements: append(p.statements, everything.statements...)}
		if narrower.Decide(r) != ExplicitDeny {
			t.Errorf("%v became %v when everything was denied", got, narrower.Decide(r))
		}
	})
}
