package test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// ask calls one of Sesame's own operations.
func (e *exports) ask(operation, body string, answer any) {
	e.Helper()
	r, err := http.NewRequest(http.MethodPost, e.url+"/sesame/v1/"+operation, strings.NewReader(body))
	if err != nil {
		e.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if err := sign(r, []byte(body), e.keys["root"]); err != nil {
		e.Fatal(err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		e.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode != http.StatusOK {
		e.Fatalf("%s: %d %s %v", operation, a.StatusCode, text, err)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		e.Fatal(err)
	}
}

// An export of events in packed files, from the door to the last byte.
func TestSesameExport(t *testing.T) {
	e := &exports{T: t, server: start(t), sdk: goSESClient{}}
	e.keys = map[string]aws.Credentials{"root": {AccessKeyID: rootID, SecretAccessKey: rootSecret}}
	sent := time.Now().UTC().Add(-time.Hour).Truncate(time.Millisecond)
	var records []string
	for i := range 5 {
		records = append(records, fmt.Sprintf(`{"eventType":"Send","mail":{"timestamp":%q,"messageId":"m%d","source":"news@example.com","sendingAccountId":"000000000000",`+
			`"destination":["a@gmail.com"],"commonHeaders":{"subject":"say \"hi\""},"tags":{"colour":["red","blue"]}},"send":{}}`, sent.Format("2006-01-02T15:04:05.000Z"), i))
	}
	e.ingest(e.keys["root"], records...)
	var made struct{ JobId string }
	e.ask("CreateExportJob", fmt.Sprintf(`{"ExportDataSource":{"EventsDataSource":{"StartDate":%d,"EndDate":%d,"Columns":["messageid","sendtimestamp","event_type","subject","tag:colour"],"Include":{"Tags":{"colour":["b*"]}}}},
		"ExportDestination":{"DataFormat":"STRICT_CSV","Compression":"GZIP","RowsPerFile":3}}`, sent.Add(-time.Hour).Unix(), sent.Add(time.Hour).Unix()), &made)
	if got := e.ended(made.JobId); got["JobStatus"] != "COMPLETED" || got["ExportSourceType"] != "EVENTS" || got["ExportDestination"].(map[string]any)["S3Url"] != nil {
		t.Fatalf("%v", got)
	}
	var report struct {
		ExportedRecords int64
		Files           []struct {
			Name, Url, ChecksumCrc32c string
			Size, Rows                int64
		}
	}
	e.ask("GetExportReport", fmt.Sprintf(`{"JobId":%q}`, made.JobId), &report)
	if report.ExportedRecords != 5 || len(report.Files) != 2 || report.Files[0].Rows != 3 || report.Files[1].Rows != 2 {
		t.Fatalf("%+v", report)
	}
	id := 0
	for i, f := range report.Files {
		status, header, packed := e.fetch("GET", f.Url)
		crc := crc32.Checksum([]byte(packed), crc32.MakeTable(crc32.Castagnoli))
		sum := []byte{byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)}
		if status != 200 || header.Get("Content-Type") != "application/gzip" || header.Get("Content-Encoding") != "" || int64(len(packed)) != f.Size || base64.StdEncoding.EncodeToString(sum) != f.ChecksumCrc32c ||
			!strings.HasSuffix(f.Name, fmt.Sprintf("_%05d.csv.gz", i+1)) || !strings.Contains(header.Get("Content-Disposition"), f.Name) {
			t.Errorf("%+v: %d %v", f, status, header)
		}
		r, err := gzip.NewReader(bytes.NewReader([]byte(packed)))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		want := "messageid,sendtimestamp,event_type,subject,tag:colour\n"
		for range f.Rows {
			want += fmt.Sprintf("m%d,%s,SEND,\"say \"\"hi\"\"\",\"red,blue\"\n", id, sent.Format("2006-01-02T15:04:05.000Z"))
			id++
		}
		if string(text) != want || err != nil {
			t.Errorf("%s: %v\n%s", f.Name, err, text)
		}
	}
}
