package wire

import (
	"encoding/json"
	"math"
	"net/url"
	"reflect"
	"strconv"
	"time"
)

// Every codec parses a body into the same tree of plain values: nil, bool,
// string, json.Number (JSON) or int64/uint64/float64/time.Time (CBOR), []any and
// map[string]any. bind puts such a tree into an input struct whose fields are
// all pointers, or slices or maps of pointers, so that absent and empty differ.
//
// The refusals are the service's SerializationException texts.

var timeType = reflect.TypeFor[time.Time]()

func serialization(msg string) *Error { return &Error{Code: "SerializationException", Message: msg} }

// bind fills *dst (a struct) from v. Members that dst does not know are passed over.
func bind(v any, dst reflect.Value) *Error {
	switch v := v.(type) {
	case nil:
		return nil
	case map[string]any:
		for i := range dst.NumField() {
			member, ok := v[dst.Type().Field(i).Name]
			if !ok || member == nil {
				continue
			}
			if err := bindMember(member, dst.Field(i)); err != nil {
				return err
			}
		}
		return nil
	case []any:
		return serialization("Start of list found where not expected")
	default:
		return serialization("Expected null")
	}
}

// unknownMember gives the name of a member of v that a struct of type t does not
// have, at any depth; "" when there is none.
func unknownMember(v any, t reflect.Type) string {
	switch v := v.(type) {
	case []any:
		for _, element := range v {
			if name := unknownMember(element, t.Elem()); name != "" {
				return name
			}
		}
	case map[string]any:
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		for name, member := range v {
			if t.Kind() == reflect.Map {
				if name := unknownMember(member, t.Elem()); name != "" {
					return name
				}
				continue
			}
			field, ok := t.FieldByName(name)
			if !ok {
				return name
			}
			if name := unknownMember(member, field.Type); name != "" {
				return name
			}
		}
	}
	return ""
}

// bindAddress fills the members of *dst that do not stand in the body: those that
// the path has labels for, and those with a tag for the query string. What the body
// said of them is forgotten.
func bindAddress(labels map[string]string, query url.Values, dst reflect.Value) *Error {
	for i := range dst.NumField() {
		field, member := dst.Type().Field(i), dst.Field(i)
		if label, ok := labels[field.Name]; ok {
			member.Set(reflect.ValueOf(&label))
			continue
		}
		parameter := field.Tag.Get("query")
		if parameter == "" {
			continue
		}
		member.SetZero()
		values, ok := query[parameter]
		if !ok {
			continue
		}
		var said any
		if member.Kind() == reflect.Slice {
			list := make([]any, len(values))
			for i := range values {
				list[i] = plain(values[i], member.Type().Elem().Elem())
			}
			said = list
		} else {
			said = plain(values[0], member.Type().Elem())
		}
		if err := bindMember(said, member); err != nil {
			return err
		}
	}
	return nil
}

// plain gives the value that a query string's text stands for in a member of type t.
func plain(text string, t reflect.Type) any {
	switch t.Kind() {
	case reflect.Int32, reflect.Int64, reflect.Float64:
		if _, err := strconv.ParseFloat(text, 64); err == nil {
			return json.Number(text)
		}
	case reflect.Bool:
		if text == "true" || text == "false" {
			return text == "true"
		}
	}
	return text
}

func bindMember(v any, dst reflect.Value) *Error {
	if dst.Kind() == reflect.Map {
		return bindMap(v, dst)
	}
	if dst.Kind() == reflect.Slice {
		list, ok := v.([]any)
		if !ok {
			if _, isMap := v.(map[string]any); isMap {
				return serialization("Start of structure or map found where not expected.")
			}
			return serialization("Expected list or null")
		}
		dst.Set(reflect.MakeSlice(dst.Type(), len(list), len(list)))
		for i, element := range list {
			if element == nil {
				continue // stays nil; the constraints refuse it
			}
			if err := bindMember(element, dst.Index(i)); err != nil {
				return err
			}
		}
		return nil
	}

	target := reflect.New(dst.Type().Elem())
	if dst.Type().Elem() == timeType {
		t, ok := moment(v)
		if !ok {
			return wrongType(v, "a Timestamp")
		}
		dst.Set(reflect.ValueOf(&t))
		return nil
	}
	switch target.Elem().Kind() {
	case reflect.Struct:
		if err := bind(v, target.Elem()); err != nil {
			return err
		}
	case reflect.String:
		s, ok := v.(string)
		if !ok {
			return wrongType(v, "a String")
		}
		target.Elem().SetString(s)
	case reflect.Int32:
		n, ok := integer(v)
		if !ok || n < math.MinInt32 || n > math.MaxInt32 {
			return wrongType(v, "an Integer")
		}
		target.Elem().SetInt(n)
	case reflect.Int64:
		n, ok := integer(v)
		if !ok {
			return wrongType(v, "a Long")
		}
		target.Elem().SetInt(n)
	case reflect.Float64:
		f, ok := number(v)
		if !ok {
			return wrongType(v, "a Double")
		}
		target.Elem().SetFloat(f)
	case reflect.Bool:
		b, ok := v.(bool)
		if !ok {
			return wrongType(v, "an Boolean") // the service's own article
		}
		target.Elem().SetBool(b)
	default:
		panic("wire: input struct has a member of type " + dst.Type().String())
	}
	dst.Set(target)
	return nil
}

func bindMap(v any, dst reflect.Value) *Error {
	switch v := v.(type) {
	case map[string]any:
		dst.Set(reflect.MakeMapWithSize(dst.Type(), len(v)))
		for key, member := range v {
			value := reflect.New(dst.Type().Elem()).Elem()
			if member != nil { // else it stays nil; the constraints refuse it
				if err := bindMember(member, value); err != nil {
					return err
				}
			}
			dst.SetMapIndex(reflect.ValueOf(key), value)
		}
		return nil
	case []any:
		return serialization("Start of list found where not expected")
	default:
		return serialization("Expected null")
	}
}

// moment reads a timestamp: epoch seconds, or as text what RFC 3339 says, to the
// millisecond. What lies outside the years 1 to 9999 is none.
func moment(v any) (t time.Time, ok bool) {
	const first, last = -62135596800, 253402300799
	switch v := v.(type) {
	case time.Time:
		t = v
	case string:
		var err error
		if t, err = time.Parse(time.RFC3339, v); err != nil {
			return t, false
		}
	default:
		seconds, isNumber := number(v)
		if !isNumber || !(seconds >= first && seconds <= last) {
			return t, false
		}
		t = time.UnixMilli(int64(math.Round(seconds * 1000)))
	}
	t = t.UTC().Truncate(time.Millisecond)
	return t, t.Unix() >= first && t.Unix() <= last
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case json.Number:
		f, err := strconv.ParseFloat(string(v), 64)
		return f, err == nil
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	}
	return 0, false
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case json.Number:
		n, err := strconv.ParseInt(string(v), 10, 64)
		return n, err == nil
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= math.MaxInt64
	}
	return 0, false
}

func wrongType(v any, wanted string) *Error {
	switch v := v.(type) {
	case []any:
		return serialization("Start of list found where not expected")
	case map[string]any:
		return serialization("Start of structure or map found where not expected.")
	case string:
		return serialization("STRING_VALUE can not be converted to " + wanted)
	case bool:
		if v {
			return serialization("TRUE_VALUE can not be converted to " + wanted)
		}
		return serialization("FALSE_VALUE can not be converted to " + wanted)
	default:
		return serialization("NUMBER_VALUE can not be converted to " + wanted)
	}
}
