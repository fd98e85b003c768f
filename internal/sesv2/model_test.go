package sesv2

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

	"sesame/internal/insights"
)

// What the service's model says of the operations that Sesame has: their shapes,
// constraints and errors, and nothing else of it.
const shapesFile = "testdata/shapes.json"

// The model itself, in botocore's form. It is not part of the project, and stands
// beside it only where the project is built.
const modelFile = "../../../shared/models/sesv2-2019-09-27.botocore.json"

type modelShape struct {
	Type               string
	Required           []string
	Members            map[string]modelRef
	Member, Key, Value *modelRef
	Min, Max           *int
	Pattern            string
	Enum               []string
	Sensitive          bool
	Error              *struct{ HTTPStatusCode int }
}

type modelRef struct{ Shape, Location, LocationName string }

type model struct {
	Operations map[string]struct {
		HTTP          struct{ Method, RequestURI string }
		Input, Output modelRef
		Errors        []modelRef
	}
	Shapes map[string]modelShape
}

// Members of outputs that Sesame has nothing to say for.
var leftOut = []string{
	"GetAccount output.Details",
	"GetAccount output.PricingAttributes",
	"GetAccount output.SuppressionAttributes.ValidationAttributes",
}

// Numbers that may be larger than the service's.
var wider = map[string]string{"MaxResults": "1..100000000"}

// Members that the service has had for less time than the model.
var newer = []string{"TenantName"}

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

// The committed shapes are the model's, where that is there to be compared; the
// shapes themselves are compared with the tables everywhere.
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

// Every operation has the place, members, constraints and errors of the model, no
// fewer and no more.
func TestShapesAreTheModels(t *testing.T) {
	m := readModel(t, shapesFile)
	service := (&API{}).Service()
	if len(service.Operations) != 8 {
		t.Errorf("the table has %d operations, want 8", len(service.Operations))
	}
	for _, op := range service.Operations {
		want, ok := m.Operations[op.Name]
		if !ok {
			t.Errorf("%s: not an operation of the model", op.Name)
			continue
		}
		if path := strings.TrimSuffix(want.HTTP.RequestURI, "/"); op.Method != want.HTTP.Method || op.Path != path {
			t.Errorf("%s is at %s %s, want %s %s", op.Name, op.Method, op.Path, want.HTTP.Method, path)
		}
		for name, member := range m.Shapes[want.Input.Shape].Members {
			inPath := strings.Contains(op.Path, "{"+name+"}")
			if isLabel := member.Location == "uri" && member.LocationName == name; inPath != isLabel || member.Location != "" && !isLabel {
				t.Errorf("%s: %s has its place in %q in the model", op.Name, name, member.Location)
			}
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
	// The names of dimensions are no tag: an unknown one has a message of its own.
	for _, name := range m.Shapes["MetricDimensionName"].Enum {
		if !insights.IsDimension(name) {
			t.Errorf("%s is no dimension", name)
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
	scalars := map[string]reflect.Type{
		"string": reflect.TypeFor[string](), "integer": reflect.TypeFor[int32](), "long": reflect.TypeFor[int64](),
		"double": reflect.TypeFor[float64](), "boolean": reflect.TypeFor[bool](), "timestamp": reflect.TypeFor[time.Time](),
	}
	switch s.Type {
	case "structure":
		if t.Kind() != reflect.Struct {
			differ("is %s, want a structure", t)
			return differences
		}
		for name, member := range s.Members {
			field, ok := t.FieldByName(name)
			if !ok {
				if !slices.Contains(leftOut, at+"."+name) {
					differ("has no member %s", name)
				}
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
			// GetExportJob gives back what CreateExportJob was given, in the same types.
			differences = append(differences, m.compare(member.Shape, field.Type, input || name == "ExportDataSource", at+"."+name)...)
		}
		for i := range t.NumField() {
			if _, ok := s.Members[t.Field(i).Name]; !ok && !slices.Contains(newer, t.Field(i).Name) {
				differ("has a member %s that the model has not", t.Field(i).Name)
			}
		}
	case "list":
		if t.Kind() != reflect.Slice {
			differ("is %s, want a list", t)
			return differences
		}
		differences = append(differences, m.compare(s.Member.Shape, t.Elem(), input, at+"[]")...)
	case "map":
		if t.Kind() != reflect.Map {
			differ("is %s, want a map", t)
			return differences
		}
		differences = append(differences, m.compare(s.Key.Shape, t.Key(), input, at+"{key}")...)
		differences = append(differences, m.compare(s.Value.Shape, t.Elem(), input, at+"{}")...)
	default:
		if want, known := scalars[s.Type]; !known || t != want {
			differ("is %s, want a %s", t, s.Type)
		}
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
	s := m.Shapes[shape]
	switch s.Type {
	case "string":
		tag("length", bounds(s))
		if field.Name != "S3Url" { // which is refused whatever it is
			tag("pattern", s.Pattern)
		}
		tag("sensitive", map[bool]string{true: "true"}[s.Sensitive])
		// In the order of the service's messages, which is not the model's.
		enum := strings.FieldsFunc(field.Tag.Get("enum"), func(c rune) bool { return c == ',' })
		if got, want := slices.Sorted(slices.Values(enum)), slices.Sorted(slices.Values(s.Enum)); !slices.Equal(got, want) {
			differences = append(differences, fmt.Sprintf("%s: enum is %v, want %v", at, got, want))
		}
	case "integer", "long":
		if wider := wider[field.Name]; wider != "" {
			tag("range", wider)
			break
		}
		tag("range", bounds(s))
	case "list", "map":
		tag("length", bounds(s))
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
	type notRequired struct {
		Queries []*metricDataQuery `length:"1..10"`
	}
	type otherLength struct {
		Queries []*metricDataQuery `required:"true" length:"1..11"`
	}
	type query struct {
		Metric     *string            `required:"true" enum:"SEND"`
		Namespace  *string            `required:"true" enum:"VDM"`
		Id         *string            `required:"true" length:"1..255"`
		Dimensions map[string]*string `length:"1..3"`
		StartDate  *time.Time         `required:"true"`
		EndDate    *time.Time         `required:"true"`
	}
	type otherEnum struct {
		Queries []*query `required:"true" length:"1..10"`
	}
	type noMember struct{}
	for _, bad := range []any{notRequired{}, otherLength{}, otherEnum{}, noMember{}} {
		if got := m.compare("BatchGetMetricDataRequest", reflect.TypeOf(bad), true, "input"); len(got) != 1 {
			t.Errorf("%T: found %v, want one difference", bad, got)
		}
	}
}
