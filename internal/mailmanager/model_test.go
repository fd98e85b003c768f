package mailmanager

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What the service's model says of the operations that Sesame has: their shapes,
// constraints and errors, and nothing else of it.
const shapesFile = "testdata/shapes.json"

// The model itself, in botocore's form. It is not part of the project, and stands
// beside it only where the project is built.
const modelFile = "../../../shared/models/mailmanager-2023-10-17.botocore.json"

type modelShape struct {
	Type      string
	Required  []string
	Members   map[string]modelRef
	Member    *modelRef
	Min, Max  *int
	Pattern   string
	Enum      []string
	Sensitive bool
	Error     *struct{ HTTPStatusCode int }
}

type modelRef struct{ Shape string }

type model struct {
	Operations map[string]struct {
		Input, Output modelRef
		Errors        []modelRef
	}
	Shapes map[string]modelShape
}

func readModel(t *testing.T, file string) model {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var m model
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// The committed shapes are the model's. Only this comparison needs the model;
// the shapes themselves are compared with the tables everywhere.
func TestCommittedShapesAreTheModels(t *testing.T) {
	committed := readModel(t, shapesFile)
	for _, op := range (&API{}).Service().Operations {
		if _, ok := committed.Operations[op.Name]; !ok {
			t.Errorf("%s is not among the committed shapes", op.Name)
		}
	}
	if _, err := os.Stat(modelFile); os.IsNotExist(err) {
		t.Skip("the service's model is not beside the project, so only the committed shapes were compared: ", modelFile)
	}
	whole := readModel(t, modelFile)
	for name, op := range committed.Operations {
		if diff := cmp.Diff(whole.Operations[name], op); diff != "" {
			t.Errorf("%s (-model +committed):\n%s", name, diff)
		}
	}
	for name, shape := range committed.Shapes {
		if diff := cmp.Diff(whole.Shapes[name], shape); diff != "" {
			t.Errorf("%s (-model +committed):\n%s", name, diff)
		}
	}
}

// Every operation has the members, constraints and errors of the model, no fewer
// and no more.
func TestShapesAreTheModels(t *testing.T) {
	m := readModel(t, shapesFile)
	service := (&API{}).Service()
	if len(service.Operations) != 16 {
		t.Errorf("the table has %d operations, want 16", len(service.Operations))
	}
	for _, op := range service.Operations {
		want, ok := m.Operations[op.Name]
		if !ok {
			t.Errorf("%s: not an operation of the model", op.Name)
			continue
		}
		var errors []string
		for _, e := range want.Errors {
			errors = append(errors, e.Shape)
			if status := m.Shapes[e.Shape].Error.HTTPStatusCode; service.Errors[e.Shape] != status {
				t.Errorf("%s has status %d, want %d", e.Shape, service.Errors[e.Shape], status)
			}
		}
		slices.Sort(errors)
		if got := slices.Sorted(slices.Values(op.Errors)); !slices.Equal(got, errors) {
			t.Errorf("%s declares %v, want %v", op.Name, got, errors)
		}
		for _, difference := range m.compare(want.Input.Shape, op.Input, true, op.Name+" input") {
			t.Error(difference)
		}
		for _, difference := range m.compare(want.Output.Shape, op.Output, false, op.Name+" output") {
			t.Error(difference)
		}
	}
}

// compare gives the differences between a shape of the model and a Go type.
func (m model) compare(shape string, t reflect.Type, input bool, at string) (differences []string) {
	differ := func(format string, args ...any) {
		differences = append(differences, at+": "+fmt.Sprintf(format, args...))
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	s := m.Shapes[shape]
	switch s.Type {
	case "structure":
		if t.Kind() != reflect.Struct {
			differ("is %s, want a structure", t)
			return differences
		}
		for name, member := range s.Members {
			field, ok := t.FieldByName(name)
			if !ok {
				differ("has no member %s", name)
				continue
			}
			required := slices.Contains(s.Required, name)
			if input {
				if got := field.Tag.Get("required") == "true"; got != required {
					differ("%s: required is %v, want %v", name, got, required)
				}
				differences = append(differences, m.constraints(member.Shape, field, at+"."+name)...)
			} else if optional := field.Type.Kind() == reflect.Pointer; optional == required && field.Type.Kind() != reflect.Slice {
				differ("%s: required is %v, want %v", name, !optional, required)
			}
			differences = append(differences, m.compare(member.Shape, field.Type, input, at+"."+name)...)
		}
		for i := range t.NumField() {
			if _, ok := s.Members[t.Field(i).Name]; !ok {
				differ("has a member %s that the model has not", t.Field(i).Name)
			}
		}
	case "list":
		if t.Kind() != reflect.Slice {
			differ("is %s, want a list", t)
			return differences
		}
		differences = append(differences, m.compare(s.Member.Shape, t.Elem(), input, at+"[]")...)
	case "string":
		if t.Kind() != reflect.String {
			differ("is %s, want a string", t)
		}
	case "integer":
		if t.Kind() != reflect.Int32 {
			differ("is %s, want a 32-bit integer", t)
		}
	case "timestamp":
		if t != reflect.TypeFor[time.Time]() {
			differ("is %s, want a timestamp", t)
		}
	default:
		differ("has type %s, which this test does not know", s.Type)
	}
	return differences
}

// constraints compares the tags of an input's field with its shape.
func (m model) constraints(shape string, field reflect.StructField, at string) (differences []string) {
	tag := func(name, want string) {
		if got := field.Tag.Get(name); got != want {
			differences = append(differences, fmt.Sprintf("%s: %s is %q, want %q", at, name, got, want))
		}
	}
	anchored := func(pattern string) string {
		if pattern == "" {
			return ""
		}
		return "^" + pattern + "$"
	}
	s := m.Shapes[shape]
	sensitive := map[bool]string{true: "true"}[s.Sensitive]
	switch s.Type {
	case "string":
		tag("length", bounds(s))
		tag("pattern", anchored(s.Pattern))
		tag("enum", strings.Join(s.Enum, ","))
		tag("sensitive", sensitive)
	case "integer":
		tag("range", bounds(s))
	case "list":
		tag("length", bounds(s))
		if element := m.Shapes[s.Member.Shape]; element.Type == "string" {
			tag("elementlength", bounds(element))
			tag("elementpattern", anchored(element.Pattern))
		}
	}
	return differences
}

func bounds(s modelShape) string {
	if s.Min == nil && s.Max == nil {
		return ""
	}
	text := ""
	if s.Min != nil {
		text = strconv.Itoa(*s.Min)
	}
	text += ".."
	if s.Max != nil {
		text += strconv.Itoa(*s.Max)
	}
	return text
}

// The comparison finds what it looks for.
func TestShapeComparisonFindsDifferences(t *testing.T) {
	m := readModel(t, shapesFile)
	type noMember struct {
		AddressListId *string `required:"true" length:"1..255" pattern:"^[a-zA-Z0-9-]+$"`
	}
	type otherLength struct {
		AddressListId *string `required:"true" length:"1..255" pattern:"^[a-zA-Z0-9-]+$"`
		Address       *string `required:"true" length:"3..321" sensitive:"true"`
	}
	type notRequired struct {
		AddressListId *string `length:"1..255" pattern:"^[a-zA-Z0-9-]+$"`
		Address       *string `required:"true" length:"3..320" sensitive:"true"`
	}
	for _, bad := range []any{noMember{}, otherLength{}, notRequired{}} {
		if got := m.compare("RegisterMemberToAddressListRequest", reflect.TypeOf(bad), true, "input"); len(got) != 1 {
			t.Errorf("%T: found %v, want one difference", bad, got)
		}
	}
}
