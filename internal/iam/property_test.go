package iam

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The generators draw from few values, so that statements and requests meet
// often.

func drawStatement(t *rapid.T, name string) map[string]any {
	s := map[string]any{
		"Effect":   rapid.SampledFrom([]string{"Allow", "Deny"}).Draw(t, name+" effect"),
		"Action":   rapid.SliceOfN(rapid.SampledFrom([]string{"*", "ses:*", "ses:Get*", "ses:GetAddressList", "ses:T?gResource", "s3:*"}), 1, 2).Draw(t, name+" action"),
		"Resource": rapid.SliceOfN(rapid.SampledFrom([]string{"*", "arn:aws:ses:*", list1, list2, "arn:aws:s3:::x"}), 1, 2).Draw(t, name+" resource"),
	}
	if rapid.Bool().Draw(t, name+" conditional") {
		operators := map[string]any{}
		for range rapid.IntRange(1, 2).Draw(t, name+" operators") {
			operators[drawOperator(t, name)] = map[string]any{
				rapid.SampledFrom([]string{"aws:RequestTag/a", "aws:ResourceTag/a", "aws:ResourceTag/b"}).Draw(t, name+" key"): drawValues(t, name),
			}
		}
		if rapid.Bool().Draw(t, name+" tag keys") {
			set := rapid.SampledFrom([]string{"ForAllValues:", "ForAnyValue:"}).Draw(t, name+" set")
			operator := strings.TrimSuffix(drawOperator(t, name), "IfExists")
			operators[set+operator] = map[string]any{"aws:TagKeys": drawValues(t, name)}
		}
		s["Condition"] = operators
	}
	return s
}

func drawOperator(t *rapid.T, name string) string {
	return rapid.SampledFrom([]string{"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike", "StringLikeIfExists"}).Draw(t, name+" operator")
}

func drawValues(t *rapid.T, name string) []string {
	return rapid.SliceOfN(rapid.SampledFrom([]string{"a", "A", "b", "*", "", "?"}), 1, 2).Draw(t, name+" values")
}

func drawRequest(t *rapid.T) Request {
	tags := rapid.MapOf(rapid.SampledFrom([]string{"a", "b", "A"}), rapid.SampledFrom([]string{"a", "A", "b", ""}))
	return Request{
		Action:       rapid.SampledFrom([]string{"ses:GetAddressList", "ses:TagResource", "ses:ListAddressLists"}).Draw(t, "action"),
		Resource:     rapid.SampledFrom([]string{"*", list1, list2}).Draw(t, "resource"),
		RequestTags:  tags.Draw(t, "request tags"),
		ResourceTags: tags.Draw(t, "resource tags"),
		TagKeys:      rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b"}), 0, 2).Draw(t, "tag keys"),
	}
}

func build(t *rapid.T, statements []map[string]any) *Policy {
	doc, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Parse(doc)
	if err != nil {
		t.Fatalf("Parse(%s): %v", doc, err)
	}
	return p
}

func drawStatements(t *rapid.T) []map[string]any {
	var statements []map[string]any
	for range rapid.IntRange(1, 4).Draw(t, "statements") {
		statements = append(statements, drawStatement(t, "statement"))
	}
	return statements
}

// A policy decides what its statements decide each alone: any explicit deny,
// else any allow, else nothing. So an explicit deny always wins, another Allow
// never takes away, another Deny never gives, and order does not matter.
func TestStatementsCombine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		statements := drawStatements(t)
		r := drawRequest(t)
		want := ImplicitDeny
		for _, s := range statements {
			alone := build(t, []map[string]any{s}).Decide(r)
			switch {
			case alone == Allow && s["Effect"] == "Deny", alone == ExplicitDeny && s["Effect"] == "Allow":
				t.Fatalf("a statement of effect %v decides %v", s["Effect"], alone)
			case alone == ExplicitDeny, want == ExplicitDeny:
				want = ExplicitDeny
			case alone == Allow:
				want = Allow
			}
		}
		if got := build(t, statements).Decide(r); got != want {
			t.Fatalf("together they decide %v, alone %v", got, want)
		}
		slices.Reverse(statements)
		if got := build(t, statements).Decide(r); got != want {
			t.Fatalf("in reverse order they decide %v, not %v", got, want)
		}
	})
}

func TestExplicitDenyAlwaysWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		statements := drawStatements(t)
		r := drawRequest(t)
		deny := map[string]any{"Effect": "Deny", "Action": r.Action, "Resource": r.Resource}
		at := rapid.IntRange(0, len(statements)).Draw(t, "at")
		if got := build(t, slices.Insert(statements, at, deny)).Decide(r); got != ExplicitDeny {
			t.Fatalf("with a Deny of the request itself: %v", got)
		}
	})
}

func TestAnotherAllowNeverTakesAway(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		statements := drawStatements(t)
		r := drawRequest(t)
		before := build(t, statements).Decide(r)
		allow := drawStatement(t, "added")
		allow["Effect"] = "Allow"
		at := rapid.IntRange(0, len(statements)).Draw(t, "at")
		after := build(t, slices.Insert(statements, at, allow)).Decide(r)
		if before != after && !(before == ImplicitDeny && after == Allow) {
			t.Fatalf("%v became %v", before, after)
		}
	})
}

// On a key of one value, a negated operator without IfExists is met exactly
// when the plain one is not.
func TestNegationIsTheOpposite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRequest(t)
		plain := rapid.SampledFrom([]string{"StringEquals", "StringEqualsIgnoreCase", "StringLike"}).Draw(t, "operator")
		keyed := map[string]any{"aws:ResourceTag/a": drawValues(t, "condition")}
		decide := func(operator string) Decision {
			return build(t, []map[string]any{{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": map[string]any{operator: keyed}}}).Decide(r)
		}
		negated := strings.Replace(plain, "String", "StringNot", 1)
		if decide(plain) == decide(negated) {
			t.Fatalf("%s and %s of %v agree", plain, negated, keyed)
		}
	})
}

// Request tags count as tag keys whether or not the caller lists them twice.
func TestTagKeysAreAUnion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := build(t, drawStatements(t))
		r := drawRequest(t)
		want := p.Decide(r)
		r.TagKeys = append(slices.Sorted(maps.Keys(r.RequestTags)), r.TagKeys...)
		if got := p.Decide(r); got != want {
			t.Fatalf("with the keys of the request tags repeated: %v, not %v", got, want)
		}
	})
}

// matchNaively says what the wildcards mean and tries everything.
func matchNaively(pattern, s []rune) bool {
	if len(pattern) == 0 {
		return len(s) == 0
	}
	if pattern[0] == '*' {
		return matchNaively(pattern[1:], s) || len(s) > 0 && matchNaively(pattern, s[1:])
	}
	return len(s) > 0 && (pattern[0] == '?' || pattern[0] == s[0]) && matchNaively(pattern[1:], s[1:])
}

func TestMatchEqualsNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringOfN(rapid.RuneFrom([]rune("ab€*?")), 0, 10, -1).Draw(t, "pattern")
		s := rapid.StringOfN(rapid.RuneFrom([]rune("ab€*?")), 0, 12, -1).Draw(t, "s")
		if got, want := match(pattern, s), matchNaively([]rune(pattern), []rune(s)); got != want {
			t.Fatalf("match(%q, %q) = %v, want %v", pattern, s, got, want)
		}
	})
}
