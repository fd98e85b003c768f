package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager/types"
)

// TestRealList imports a list that people really use, npm's
// disposable-email-domains, whole, and asks about 20,000 addresses. What is right
// is known from plain sets, made from the package's files without this program.
func TestRealList(t *testing.T) {
	if err := installModules(); err != nil {
		t.Fatal(err)
	}
	read := func(name string) (domains []string, text []byte) {
		text, err := os.ReadFile(filepath.Join(modules, "node_modules", "disposable-email-domains", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &domains); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return domains, text
	}
	domains, index := read("index.json")
	wildcards, _ := read("wildcard.json")
	if len(domains) < 100_000 || len(wildcards) < 100 {
		t.Fatalf("the package has %d domains and %d wildcards: is it the right one?", len(domains), len(wildcards))
	}

	var csv bytes.Buffer
	csv.WriteString("address\n")
	exact, below := map[string]bool{}, map[string]bool{}
	refused := int32(0)
	inUnicode := map[string]string{}
	for i, d := range domains {
		fmt.Fprintln(&csv, d)
		if ascii := toASCII(t, d); ascii != d {
			inUnicode[d] = ascii
			domains[i] = ascii
		}
		exact[domains[i]] = true
		refused += refuse(t, domains[i], 2, 127)
	}
	inIndex := refused
	for _, d := range wildcards {
		fmt.Fprintln(&csv, "*."+d)
		below[d] = true
		refused += refuse(t, d, 2, 9) // Developer Guide, "Address lists"
	}

	s := start(t, "--api-rate", "0")
	list := s.importAll(t, "csv", types.ImportDataTypeCsv, csv.Bytes(), int32(len(domains)+len(wildcards)), refused)
	s.importAll(t, "json", types.ImportDataTypeJson, index, int32(len(domains)), inIndex)

	// want is the answer by the sets: the domain itself, or a parent with *.
	want := func(domain string) string {
		if exact[domain] {
			return domain
		}
		for parent := domain; ; {
			var more bool
			if _, parent, more = strings.Cut(parent, "."); !more {
				return ""
			}
			if below[parent] {
				return "*." + parent
			}
		}
	}
	random := rand.New(rand.NewPCG(seed(t, "SESAME_REALLIST_SEED"), 0))
	letters := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte('a' + random.IntN(26))
		}
		return string(b)
	}
	const questions, batch = 20_000, 500
	var answered [2]int
	for range questions / batch {
		var asked, wanted []string
		for range batch {
			d := domains[random.IntN(len(domains))]
			w := wildcards[random.IntN(len(wildcards))]
			domain := []string{
				d, strings.ToUpper(d), letters(3) + "." + d, letters(1) + d, d[1:] + ".com",
				w, letters(4) + "." + w, strings.ToUpper(letters(2) + ".a." + w), letters(3) + w,
				letters(8) + ".com", letters(5) + "." + letters(5) + ".org",
			}[random.IntN(11)]
			domain = strings.TrimLeft(domain, ".-")
			asked = append(asked, letters(1+random.IntN(20))+"@"+domain)
			wanted = append(wanted, want(strings.ToLower(domain)))
		}
		var out struct {
			Matches []struct {
				Address      string
				Matched      bool
				Entry, Error string
			}
		}
		s.ask(t, "MatchAddressList", map[string]any{"AddressListId": list, "Addresses": asked}, &out)
		if len(out.Matches) != batch {
			t.Fatalf("%d answers to %d questions", len(out.Matches), batch)
		}
		for i, m := range out.Matches {
			if m.Address != asked[i] || m.Matched != (wanted[i] != "") || m.Entry != wanted[i] || m.Error != "" {
				t.Fatalf("%s: got %+v, want %q", asked[i], m, wanted[i])
			}
			if m.Matched {
				answered[1]++
			} else {
				answered[0]++
			}
		}
	}
	t.Logf("%d addresses were in the list and %d were not", answered[1], answered[0])
	if min(answered[0], answered[1]) < questions/10 {
		t.Error("too few of one kind to show anything")
	}

	// Those that are not ASCII are found by either spelling.
	if len(inUnicode) == 0 {
		t.Error("no domain of the list is written in Unicode any more")
	}
	sdk := s.client()
	for written, ascii := range inUnicode {
		m, err := sdk.GetMemberOfAddressList(context.Background(), &mailmanager.GetMemberOfAddressListInput{AddressListId: &list, Address: &written})
		if err != nil || *m.Address != ascii {
			t.Errorf("%s is a member: %v", written, err)
		}
	}

	for i := range 400 {
		entry := domains[random.IntN(len(domains))]
		if i%4 == 1 {
			entry = "*." + wildcards[random.IntN(len(wildcards))]
		}
		isMember := true
		if i%2 == 0 {
			entry = letters(3) + "-" + strings.TrimPrefix(entry, "*.")
			isMember = exact[entry]
		}
		m, err := sdk.GetMemberOfAddressList(context.Background(), &mailmanager.GetMemberOfAddressListInput{AddressListId: &list, Address: &entry})
		var absent *types.ResourceNotFoundException
		switch {
		case isMember && (err != nil || *m.Address != entry):
			t.Errorf("%s is a member: %v", entry, err)
		case !isMember && !errors.As(err, &absent):
			t.Errorf("%s is no member: %v", entry, err)
		}
	}
}

var plainDomain = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

// refuse says whether a domain of the list is to be refused, 1 or 0: it is by
// RFC 1035, section 2.3.1, and by the number of its labels. Each such is logged.
func refuse(t *testing.T, domain string, least, most int) int32 {
	if n := strings.Count(domain, ".") + 1; len(domain) <= 253 && n >= least && n <= most && plainDomain.MatchString(domain) {
		return 0
	}
	t.Logf("%q is no domain and should be refused", domain)
	return 1
}

// toASCII gives a domain in A-labels, as Node.js makes them.
func toASCII(t *testing.T, domain string) string {
	t.Helper()
	if strings.IndexFunc(domain, func(r rune) bool { return r > unicode.MaxASCII }) < 0 {
		return domain
	}
	ascii, err := exec.Command("node", "-p", "url.domainToASCII(process.argv[1])", domain).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ascii))
}

// importAll imports a file into a new list and checks the counts.
func (s *server) importAll(t *testing.T, name string, format types.ImportDataType, body []byte, lines, refused int32) (list string) {
	t.Helper()
	ctx := context.Background()
	sdk := s.client()
	l, err := sdk.CreateAddressList(ctx, &mailmanager.CreateAddressListInput{AddressListName: &name})
	if err != nil {
		t.Fatal(err)
	}
	job, err := sdk.CreateAddressListImportJob(ctx, &mailmanager.CreateAddressListImportJobInput{AddressListId: l.AddressListId, Name: &name,
		ImportDataFormat: &types.ImportDataFormat{ImportDataType: format}})
	if err != nil {
		t.Fatal(err)
	}
	if status, text, err := put(ctx, *job.PreSignedUrl, bytes.NewReader(body)); err != nil || status != 200 {
		t.Fatalf("%s: upload: %d %v\n%s", name, status, err, text)
	}
	if _, err := sdk.StartAddressListImportJob(ctx, &mailmanager.StartAddressListImportJobInput{JobId: job.JobId}); err != nil {
		t.Fatal(err)
	}
	j := waitForJob(t, sdk, *job.JobId, time.Minute)
	if j.Status != types.ImportJobStatusCompleted || *j.ImportedItemsCount != lines-refused || *j.FailedItemsCount != refused {
		t.Fatalf("%s: %s, %d imported and %d refused (%s), want %d and %d", name,
			j.Status, *j.ImportedItemsCount, *j.FailedItemsCount, aws.ToString(j.Error), lines-refused, refused)
	}
	return *l.AddressListId
}

// ask calls one of Sesame's own operations with the root key.
func (s *server) ask(t *testing.T, operation string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, s.url+"/sesame/v1/"+operation, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := sign(r, body, aws.Credentials{AccessKeyID: rootID, SecretAccessKey: rootSecret}); err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v\n%s", operation, answer.StatusCode, err, text)
	}
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatal(err)
	}
}
