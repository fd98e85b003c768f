package iam

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// condition is one operator applied to one key, such as
// "StringLike": {"aws:RequestTag/team": ["a*", "b*"]}.
type condition struct {
	set      string // "ForAllValues", "ForAnyValue" or ""
	test     string // "StringEquals", "StringEqualsIgnoreCase", "StringLike" or "Null"
	negated  bool   // StringNot...
	ifExists bool   // ...IfExists
	source   string // one of the keys below
	tag      string // what follows the slash of the first two
	values   []string
}

// The condition keys of the SES actions:
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonses.html
const (
	keyRequestTag  = "aws:requesttag/"
	keyResourceTag = "aws:resourcetag/"
	keyTagKeys     = "aws:tagkeys"
	keyExport      = "ses:exportsourcetype"
)

// holds reports whether r meets the condition. What a missing key means is
// told, for plain operators, IfExists and Null, by
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
// and for ForAllValues and ForAnyValue by
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
func (c condition) holds(r Request) bool {
	got := c.requested(r)
	switch {
	case c.test == "Null":
		return (len(got) == 0) == (c.values[0] == "true")
	case c.set == "ForAllValues": // true of a missing key, negated or not
		for _, v := range got {
			if !c.fits(v) {
				return false
			}
		}
		return true
	case c.set == "ForAnyValue": // false of a missing key, negated or not
		for _, v := range got {
			if c.fits(v) {
				return true
			}
		}
		return false
	case len(got) == 0:
		return c.negated || c.ifExists
	default:
		return c.fits(got[0])
	}
}

// requested returns the values r gives for the condition's key. None means
// that the key is missing; an empty tag value is a value.
func (c condition) requested(r Request) []string {
	tags := r.RequestTags
	switch c.source {
	case keyExport:
		if r.ExportSource == "" {
			return nil
		}
		return []string{r.ExportSource}
	case keyTagKeys:
		var keys []string
		keys = append(keys, r.TagKeys...)
		for k := range r.RequestTags {
			keys = append(keys, k)
		}
		return keys
	case keyResourceTag:
		tags = r.ResourceTags
	}
	// Condition keys ignore case, and a tag's key is part of one
	// (https://docs.aws.amazon.com/IAM/latest/UserGuide/access_tags.html). Tags
	// whose keys differ in case only are told apart where the policy can.
	if v, ok := tags[c.tag]; ok {
		return []string{v}
	}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		if strings.EqualFold(k, c.tag) {
			return []string{tags[k]}
		}
	}
	return nil
}

// fits reports whether one value from the request passes: it equals any of the
// policy's values or, negated, none of them.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-logic-multiple-context-keys-or-values.html
func (c condition) fits(got string) bool {
	for _, want := range c.values {
		var same bool
		switch c.test {
		case "StringEquals":
			same = got == want
		case "StringEqualsIgnoreCase":
			same = strings.EqualFold(got, want)
		case "StringLike":
			same = match(want, got)
		}
		if same {
			return !c.negated
		}
	}
	return c.negated
}

// parseConditions reads the Condition element at where.
func parseConditions(raw json.RawMessage, where string) ([]condition, error) {
	operators, err := object(raw, where)
	if err != nil {
		return nil, err
	}
	var conditions []condition
	for _, o := range operators {
		operator, err := parseOperator(o.name, o.where)
		if err != nil {
			return nil, err
		}
		keys, err := object(o.raw, o.where)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			c := operator
			if err := c.setKey(k.name, k.where); err != nil {
				return nil, err
			}
			if err := c.setValues(k.raw, k.where); err != nil {
				return nil, err
			}
			conditions = append(conditions, c)
		}
	}
	return conditions, nil
}

// parseOperator returns a condition that has only its operator.
func parseOperator(name, where string) (condition, error) {
	var c condition
	test := name
	if set, rest, found := strings.Cut(test, ":"); found {
		if set != "ForAllValues" && set != "ForAnyValue" {
			return c, fmt.Errorf("%s: unknown set operator: ForAllValues and ForAnyValue are supported", where)
		}
		c.set, test = set, rest
	}
	test, c.ifExists = strings.CutSuffix(test, "IfExists")
	switch test {
	case "StringEquals", "StringEqualsIgnoreCase", "StringLike", "Null":
		c.test = test
	case "StringNotEquals", "StringNotEqualsIgnoreCase", "StringNotLike":
		c.test, c.negated = strings.Replace(test, "Not", "", 1), true
	default:
		return c, fmt.Errorf("%s: operator not supported: StringEquals, StringNotEquals, StringEqualsIgnoreCase, StringNotEqualsIgnoreCase, StringLike, StringNotLike and Null are", where)
	}
	if c.test == "Null" && (c.set != "" || c.ifExists) {
		return c, fmt.Errorf("%s: Null takes neither a set operator nor IfExists", where)
	}
	if c.set == "ForAnyValue" && c.ifExists {
		// The pages named at holds contradict each other here: IfExists makes
		// a missing key true, ForAnyValue makes it false. Either guess would
		// let something through, in an Allow or in a Deny.
		return c, fmt.Errorf("%s: ForAnyValue and IfExists disagree about a missing key: drop IfExists, or use Null in a statement of its own", where)
	}
	return c, nil
}

// setKey reads the condition key called name. Case does not count in it.
func (c *condition) setKey(name, where string) error {
	folded := lower(name)
	switch {
	case folded == keyTagKeys:
		c.source = keyTagKeys
		// "Multivalued context keys require a condition set operator", says
		// the second page named at holds.
		if c.set == "" && c.test != "Null" {
			return fmt.Errorf("%s: aws:TagKeys has many values: put ForAllValues: or ForAnyValue: before the operator", where)
		}
		return nil
	case folded == keyExport:
		c.source = keyExport
		return nil
	case strings.HasPrefix(folded, keyRequestTag):
		c.source = keyRequestTag
	case strings.HasPrefix(folded, keyResourceTag):
		c.source = keyResourceTag
	default:
		return fmt.Errorf("%s: condition key not supported: aws:RequestTag/KEY, aws:ResourceTag/KEY, aws:TagKeys and ses:ExportSourceType are", where)
	}
	c.tag = name[len(c.source):]
	if n := utf8.RuneCountInString(c.tag); n < 1 || n > 128 {
		return fmt.Errorf("%s: the tag key after the slash has %d characters: 1 to 128 are allowed", where, n)
	}
	return plain(c.tag, where)
}

func (c *condition) setValues(raw json.RawMessage, where string) error {
	if c.test == "Null" {
		if s := string(raw); s == "true" || s == "false" {
			c.values = []string{s}
			return nil
		}
	}
	values, err := texts(raw, where)
	if err != nil {
		return err
	}
	for _, v := range values {
		if err := plain(v.text, v.where); err != nil {
			return err
		}
		if c.test == "Null" && (len(values) > 1 || v.text != "true" && v.text != "false") {
			return fmt.Errorf("%s: Null wants true or false, once", where)
		}
		c.values = append(c.values, v.text)
	}
	return nil
}
