package wire

import (
	"reflect"
	"time"
)

// tree turns an output struct into the plain values that a codec writes. Nil
// pointers, slices and maps are left out. timestamp gives the codec's own form of
// a time.
func tree(v reflect.Value, timestamp func(time.Time) any) any {
	switch v.Kind() {
	case reflect.Pointer:
		return tree(v.Elem(), timestamp)
	case reflect.Struct:
		if t, ok := v.Interface().(time.Time); ok {
			return timestamp(t)
		}
		out := make(map[string]any, v.NumField())
		for i := range v.NumField() {
			f := v.Field(i)
			if (f.Kind() == reflect.Pointer || f.Kind() == reflect.Slice || f.Kind() == reflect.Map) && f.IsNil() {
				continue
			}
			out[v.Type().Field(i).Name] = tree(f, timestamp)
		}
		return out
	case reflect.Map:
		out := make(map[string]any, v.Len())
		for key, value := range v.Seq2() {
			out[key.String()] = tree(value, timestamp)
		}
		return out
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = tree(v.Index(i), timestamp)
		}
		return out
	default:
		return v.Interface()
	}
}
