package wire

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Constraints stand on input structs as tags:
//
//	required:"true"      the member must be there
//	length:"1..255"      characters of a string, or elements of a list or map; either end may be open
//	range:"1..50"        value of a number
//	pattern:"^[a-z]+$"   regular expression that a string must satisfy
//	enum:"CSV,JSON"      the values that a string may have
//	sensitive:"true"     never echoed
//
// On a list of strings, length is the list's; its elements take elementlength,
// elementpattern and elementenum. On a map of lists, elementlength is the lists'.
//
// check finds every violation and puts them into one message in the service's
// words, in declaration order.

type violations struct {
	patterns map[string]*regexp.Regexp
	hide     bool // no value is echoed
	found    []string
}

// Bounds on one message, which otherwise a hostile input could make a hundred
// times as long as itself.
const (
	maxViolations = 100
	maxEcho       = 4096 // bytes of a value
)

func (v *violations) add(value, path, must string) {
	if len(v.found) == maxViolations {
		return
	}
	if v.hide {
		value = ""
	}
	if len(value) > maxEcho {
		value = strings.ToValidUTF8(value[:maxEcho], "") + "...'"
	}
	if value != "" {
		value = " " + value
	}
	v.found = append(v.found, "Value"+value+" at '"+path+"' failed to satisfy constraint: Member must "+must)
}

// check refuses an input that breaks a constraint. hide keeps values out of the message.
func check(input any, patterns map[string]*regexp.Regexp, hide bool) *Error {
	v := violations{patterns: patterns, hide: hide}
	v.structure(reflect.ValueOf(input).Elem(), "")
	if len(v.found) == 0 {
		return nil
	}
	noun := "validation error"
	if len(v.found) > 1 {
		noun += "s"
	}
	return Errorf("ValidationException", "%d %s detected: %s", len(v.found), noun, strings.Join(v.found, "; "))
}

func (v *violations) structure(s reflect.Value, at string) {
	for i := range s.NumField() {
		field := s.Type().Field(i)
		path := at + lowerFirst(field.Name)
		member := s.Field(i)
		if member.IsNil() {
			if field.Tag.Get("required") == "true" {
				v.null(field.Tag, path)
			}
			continue
		}
		switch member.Kind() {
		case reflect.Slice:
			v.list(member, field.Tag, path)
			continue
		case reflect.Map:
			v.mapping(member, field.Tag, path)
			continue
		}
		switch value := member.Elem(); value.Kind() {
		case reflect.Struct:
			if value.Type() != timeType {
				v.structure(value, path+".")
			}
		case reflect.String:
			v.text(value.String(), path, field.Tag.Get("length"), field.Tag.Get("pattern"), field.Tag.Get("enum"), field.Tag.Get("sensitive") == "true")
		case reflect.Int32, reflect.Int64:
			v.number(value.Int(), path, field.Tag.Get("range"))
		}
	}
}

// mapping checks a map of strings or of lists; which keys there may be, an operation
// says.
func (v *violations) mapping(m reflect.Value, tag reflect.StructTag, path string) {
	before := len(v.found)
	v.bounds(m.Len(), path, "", tag.Get("length"), "length")
	if len(v.found) > before {
		return // its values would only make the message longer
	}
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, key := range keys {
		value := m.MapIndex(key)
		if value.Kind() == reflect.Slice && !value.IsNil() {
			name := key.String()
			name = strings.ToValidUTF8(name[:min(len(name), 100)], "")
			v.list(value, reflect.StructTag(`length:"`+tag.Get("elementlength")+`"`), path+"."+name+".member")
			continue
		}
		if value.IsNil() {
			v.add("", path, "satisfy constraint: [Member must not be null]")
			return
		}
	}
}

func (v *violations) list(list reflect.Value, tag reflect.StructTag, path string) {
	shown := ""
	if tag.Get("sensitive") != "true" && list.Type().Elem().Kind() == reflect.Pointer && list.Type().Elem().Elem().Kind() == reflect.String {
		shown = "'" + showStrings(list) + "'"
	}
	before := len(v.found)
	v.bounds(list.Len(), path, shown, tag.Get("length"), "length")
	if len(v.found) > before {
		return // its elements would only make the message longer
	}
	for i := range list.Len() {
		element, at := list.Index(i), fmt.Sprintf("%s.%d.member", path, i+1)
		switch {
		case element.IsNil():
			v.null(tag, at)
		case element.Kind() == reflect.Slice:
			v.list(element, "", at)
		case element.Elem().Kind() == reflect.Struct:
			v.structure(element.Elem(), at+".")
		case element.Elem().Kind() == reflect.String:
			v.text(element.Elem().String(), at, tag.Get("elementlength"), tag.Get("elementpattern"), tag.Get("elementenum"), tag.Get("sensitive") == "true")
		}
	}
}

func (v *violations) null(tag reflect.StructTag, path string) {
	value := "null"
	if tag.Get("sensitive") == "true" {
		value = ""
	}
	v.add(value, path, "not be null")
}

func (v *violations) text(s, path, length, pattern, enum string, sensitive bool) {
	shown := ""
	if !sensitive {
		shown = "'" + s + "'"
	}
	v.bounds(utf8.RuneCountInString(s), path, shown, length, "length")
	if pattern != "" && !v.patterns[pattern].MatchString(s) {
		v.add(shown, path, "satisfy regular expression pattern: "+pattern)
	}
	if enum != "" && !slices.Contains(strings.Split(enum, ","), s) {
		v.add(shown, path, "satisfy enum value set: ["+strings.ReplaceAll(enum, ",", ", ")+"]")
	}
}

func (v *violations) number(n int64, path, bounds string) {
	v.bounds(int(n), path, "'"+strconv.FormatInt(n, 10)+"'", bounds, "value")
}

// bounds checks n against "low..high", either of which may be missing.
func (v *violations) bounds(n int, path, shown, bounds, what string) {
	low, high, _ := strings.Cut(bounds, "..")
	if least, err := strconv.Atoi(low); err == nil && n < least {
		v.add(shown, path, "have "+what+" greater than or equal to "+low)
	}
	if most, err := strconv.Atoi(high); err == nil && n > most {
		v.add(shown, path, "have "+what+" less than or equal to "+high)
	}
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

func showStrings(list reflect.Value) string {
	parts := make([]string, list.Len())
	for i := range parts {
		if parts[i] = "null"; !list.Index(i).IsNil() {
			parts[i] = list.Index(i).Elem().String()
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// patternsOf compiles every pattern that stands on the input types of the
// services' operations. A pattern that does not compile is a mistake in the
// table, found when the program starts.
func patternsOf(services []*Service) map[string]*regexp.Regexp {
	patterns := map[string]*regexp.Regexp{}
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || t == timeType {
			return
		}
		for i := range t.NumField() {
			for _, name := range []string{"pattern", "elementpattern"} {
				if p := t.Field(i).Tag.Get(name); p != "" && patterns[p] == nil {
					patterns[p] = regexp.MustCompile(p)
				}
			}
			walk(t.Field(i).Type)
		}
	}
	for _, s := range services {
		for _, op := range s.Operations {
			walk(op.Input)
		}
	}
	return patterns
}
