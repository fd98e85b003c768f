package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxPolicyBytes is the longest document Parse reads: 20 KiB.
const MaxPolicyBytes = 20 << 10

// AdministratorPolicy is a document that allows every action on everything.
const AdministratorPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// Policy is a parsed, valid policy document. It never changes, so it may be
// used by many goroutines. The zero Policy has no statement and allows nothing.
type Policy struct {
	statements []statement
}

type statement struct {
	deny       bool
	actions    []string // lower case
	resources  []string
	conditions []condition
}

// Parse reads an identity-based policy document, at most MaxPolicyBytes of
// UTF-8 JSON, written in this part of the policy language:
//
//   - Version, optional: "2012-10-17" or "2008-10-17". Without policy
//     variables they mean the same.
//   - Statement: an object, or an array of at least one.
//   - in a statement Sid (optional, a label), Effect, Action, Resource and
//     Condition (optional). Action and Resource are a string or an array of at
//     least one, with the wildcards '*' and '?'; case counts in Resource only.
//   - in a condition StringEquals, StringEqualsIgnoreCase, StringLike, their
//     StringNot forms, and Null, with ForAllValues:, ForAnyValue: and IfExists,
//     on aws:RequestTag/KEY, aws:ResourceTag/KEY and aws:TagKeys. Case counts
//     in KEY and not in the rest of these names.
//
// Whatever else a document holds, policy variables among it, is refused. The
// error says where and why in one line fit to show to the document's author,
// such as `Statement[2].NotAction: element not supported`.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
func Parse(doc []byte) (*Policy, error) {
	if len(doc) > MaxPolicyBytes {
		return nil, fmt.Errorf("the policy has %d bytes: at most %d are allowed", len(doc), MaxPolicyBytes)
	}
	// The decoder would put U+FFFD in place of a bad byte.
	if !utf8.Valid(doc) {
		return nil, errors.New("the policy is not UTF-8")
	}
	// Reading it whole first also refuses what follows the document.
	var whole json.RawMessage
	if err := json.Unmarshal(doc, &whole); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("the policy is not JSON: byte %d: %w", syntax.Offset, err)
		}
		return nil, fmt.Errorf("the policy is not JSON: %w", err)
	}

	members, err := object(whole, "")
	if err != nil {
		return nil, err
	}
	p := &Policy{}
	for _, m := range members {
		switch m.name {
		case "Version":
			v, err := text(m.raw, m.where)
			if err != nil {
				return nil, err
			}
			if v != "2012-10-17" && v != "2008-10-17" {
				return nil, fmt.Errorf("%s: %.40q is unknown: 2012-10-17 and 2008-10-17 are supported", m.where, v)
			}
		case "Statement":
			if p.statements, err = parseStatements(m.raw, m.where); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("%s: element not supported: Version and Statement are", m.where)
		}
	}
	if p.statements == nil {
		return nil, errors.New("the policy has no Statement")
	}
	return p, nil
}

func parseStatements(raw json.RawMessage, where string) ([]statement, error) {
	elements, err := oneOrMore(raw, where)
	if err != nil {
		return nil, err
	}
	var statements []statement
	sids := map[string]bool{}
	for _, e := range elements {
		s, sid, err := parseStatement(e.raw, e.where)
		if err != nil {
			return nil, err
		}
		// "The Sid value must be unique within a JSON policy":
		// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_sid.html
		if sid != "" && sids[sid] {
			return nil, fmt.Errorf("%s.Sid: another statement has %.40q", e.where, sid)
		}
		sids[sid] = true
		statements = append(statements, s)
	}
	return statements, nil
}

func parseStatement(raw json.RawMessage, where string) (s statement, sid string, err error) {
	members, err := object(raw, where)
	if err != nil {
		return s, "", err
	}
	effect := ""
	for _, m := range members {
		switch m.name {
		case "Sid":
			sid, err = text(m.raw, m.where)
			if err == nil && !only(sid, "") {
				err = fmt.Errorf("%s: %.40q has characters other than A-Z, a-z, 0-9", m.where, sid)
			}
		case "Effect":
			effect, err = text(m.raw, m.where)
			if err == nil && effect != "Allow" && effect != "Deny" {
				err = fmt.Errorf("%s: %.40q is neither Allow nor Deny", m.where, effect)
			}
		case "Action":
			s.actions, err = parseActions(m.raw, m.where)
		case "Resource":
			s.resources, err = parseResources(m.raw, m.where)
		case "Condition":
			s.conditions, err = parseConditions(m.raw, m.where)
		default:
			err = fmt.Errorf("%s: element not supported: Sid, Effect, Action, Resource and Condition are", m.where)
		}
		if err != nil {
			return s, "", err
		}
	}
	switch {
	case effect == "":
		return s, "", fmt.Errorf("%s.Effect: missing", where)
	case s.actions == nil:
		return s, "", fmt.Errorf("%s.Action: missing", where)
	case s.resources == nil:
		return s, "", fmt.Errorf("%s.Resource: missing", where)
	}
	s.deny = effect == "Deny"
	return s, sid, nil
}

// parseActions returns the patterns in lower case.
func parseActions(raw json.RawMessage, where string) ([]string, error) {
	values, err := texts(raw, where)
	if err != nil {
		return nil, err
	}
	var actions []string
	for _, v := range values {
		service, name, found := strings.Cut(v.text, ":")
		wellFormed := found && service != "" && name != "" && only(service, "-") && only(name, "-_*?")
		if v.text != "*" && !wellFormed {
			return nil, fmt.Errorf(`%s: %.80q is not an action: write "*" or SERVICE:NAME, with wildcards in the name only`, v.where, v.text)
		}
		actions = append(actions, lower(v.text))
	}
	return actions, nil
}

// parseResources refuses a pattern that could never match: a misspelt Deny
// would otherwise deny nothing. A '*' at the end may stand for the fields that
// are not written, as
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
// has it, and no wildcard may stand in the service.
func parseResources(raw json.RawMessage, where string) ([]string, error) {
	values, err := texts(raw, where)
	if err != nil {
		return nil, err
	}
	var resources []string
	for _, v := range values {
		if err := plain(v.text, v.where); err != nil {
			return nil, err
		}
		// arn:partition:service:region:account:resource
		fields := strings.SplitN(v.text, ":", 6)
		wellFormed := len(fields) >= 3 && fields[0] == "arn" &&
			(len(fields) == 6 || strings.HasSuffix(v.text, "*")) &&
			fields[2] != "" && !strings.ContainsAny(fields[2], "*?")
		if v.text != "*" && !wellFormed {
			return nil, fmt.Errorf(`%s: %.80q is not a resource: write "*" or an ARN of six fields, with no wildcard in the service`, v.where, v.text)
		}
		resources = append(resources, v.text)
	}
	return resources, nil
}

// plain refuses text that would be compared as something that was not written:
// policy variables, and half a surrogate pair, which the decoder turns into
// U+FFFD.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
func plain(s, where string) error {
	if strings.Contains(s, "${") {
		return fmt.Errorf("%s: policy variables (${...}) are not supported", where)
	}
	if strings.ContainsRune(s, utf8.RuneError) {
		return fmt.Errorf("%s: holds U+FFFD or half a surrogate pair", where)
	}
	return nil
}

// only reports whether s has no character but ASCII letters, digits and those
// in also.
func only(s, also string) bool {
	for _, c := range s {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		digit := '0' <= c && c <= '9'
		if !letter && !digit && !strings.ContainsRune(also, c) {
			return false
		}
	}
	return true
}

// What follows reads JSON one level at a time, for two reasons: decoding into
// structs would take "effect" for Effect and the last of two equal names, and
// an error must say where it is. Every raw message comes from a document that
// was read whole, so it is valid, not empty and without space around it.

// member is one member of an object; where is its place in the document.
type member struct {
	name, where string
	raw         json.RawMessage
}

// element is one element of an array, or what stands alone in place of it.
type element struct {
	where string
	raw   json.RawMessage
}

// located is one string and its place.
type located struct {
	where, text string
}

// object returns the members of the object raw, in order: at least one, no two
// of the same name.
func object(raw json.RawMessage, where string) ([]member, error) {
	if raw[0] != '{' {
		return nil, fmt.Errorf("%s: must be an object", orWhole(where))
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("%s: %w", orWhole(where), err)
	}
	var members []member
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", orWhole(where), err)
		}
		m := member{name: token.(string)} // a valid object has strings here
		m.where = inside(where, m.name)
		if seen[m.name] {
			return nil, fmt.Errorf("%s: given twice", m.where)
		}
		seen[m.name] = true
		if err := dec.Decode(&m.raw); err != nil {
			return nil, fmt.Errorf("%s: %w", m.where, err)
		}
		members = append(members, m)
	}
	if members == nil {
		return nil, fmt.Errorf("%s: must not be empty", orWhole(where))
	}
	return members, nil
}

// oneOrMore returns the elements of the array raw, at least one, or raw itself
// if it is no array: the policy language lets a single element stand alone.
func oneOrMore(raw json.RawMessage, where string) ([]element, error) {
	if raw[0] != '[' {
		return []element{{where, raw}}, nil
	}
	var raws []json.RawMessage
	if err := json.Unmarshal(raw, &raws); err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	if len(raws) == 0 {
		return nil, fmt.Errorf("%s: must not be empty", where)
	}
	var elements []element
	for i, r := range raws {
		elements = append(elements, element{fmt.Sprintf("%s[%d]", where, i), r})
	}
	return elements, nil
}

// texts reads a string, or an array of at least one.
func texts(raw json.RawMessage, where string) ([]located, error) {
	elements, err := oneOrMore(raw, where)
	if err != nil {
		return nil, err
	}
	var list []located
	for _, e := range elements {
		s, err := text(e.raw, e.where)
		if err != nil {
			return nil, err
		}
		list = append(list, located{e.where, s})
	}
	return list, nil
}

func text(raw json.RawMessage, where string) (string, error) {
	if raw[0] != '"' {
		return "", fmt.Errorf("%s: must be a string", where)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", fmt.Errorf("%s: %w", where, err)
	}
	return s, nil
}

// inside names a member's place. Names from the document that are not plain
// words are quoted and cut, so that an error stays one short line.
func inside(where, name string) string {
	switch {
	case len(name) > 60 || name == "" || !only(name, ""):
		return fmt.Sprintf("%s[%.60q]", where, name)
	case where == "":
		return name
	default:
		return where + "." + name
	}
}

func orWhole(where string) string {
	if where == "" {
		return "the policy"
	}
	return where
}
