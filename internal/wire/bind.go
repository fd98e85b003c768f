package wire

import (
	"encoding/json"
	"math"
	"reflect"
	"strconv"
)

// Every codec parses a body into the same tree of plain values: nil, bool,
// string, json.Number (JSON) or int64/uint64/float64 (CBOR), []any and
// map[string]any. bind puts such a tree into an input struct whose fields are
// all pointers or slices of pointers, so that absent and empty differ.
//
// The refusals are the service's SerializationException texts.

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

func bindMember(v any, dst reflect.Value) *Error {
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
