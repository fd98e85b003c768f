//go:build ignore

// Record writes down the requests that real SDKs send, for TestRecorded. It
// listens on a free port of this machine, keeps every request byte for byte in
// OUT/NAME-NN.http, and answers {} to each. User-Agent, which no SDK signs, is
// cut to a word, since it tells what machine the recording was made on.
//
// With OUT and NAME alone it sends the requests of aws-sdk-go-v2 itself; with a
// command after them, it runs that, with AWS_ENDPOINT_URL set:
//
//	go run testdata/record/record.go testdata/recorded go
//	go run testdata/record/record.go testdata/recorded botocore python3 testdata/record/record.py
//	cp testdata/record/record.mjs TEMP && (cd TEMP && npm install --no-save @aws-sdk/client-sesv2 @aws-sdk/client-mailmanager)
//	go run testdata/record/record.go testdata/recorded js node TEMP/record.mjs
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
)

func main() {
	out, name, command := os.Args[1], os.Args[2], os.Args[3:]
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go serve(listener, out, name)
	endpoint := "http://" + listener.Addr().String()
	if len(command) == 0 {
		callGo(endpoint)
		return
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+endpoint)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		log.Fatal(err)
	}
}

func serve(listener net.Listener, out, name string) {
	for n := 1; ; n++ {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		var raw bytes.Buffer
		r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &raw)))
		if err != nil {
			log.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			log.Fatal(err)
		}
		text := regexp.MustCompile(`(?im)^(user-agent:).*\r$`).ReplaceAll(raw.Bytes(), []byte("${1} recorded\r"))
		file := filepath.Join(out, fmt.Sprintf("%s-%02d.http", name, n))
		if err := os.WriteFile(file, text, 0o644); err != nil {
			log.Fatal(err)
		}
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
		conn.Close()
	}
}

// Names with everything in them that a path or a query must escape. record.mjs
// and record.py send the same.
const (
	identity = "a+b/c%d@é.example"
	message  = "0100 0190+a/b=c@%41&é~!*'();:$,"
	token    = "a+b/c=d &é~%2B*'!;:@$,()"
	arn      = "arn:aws:ses:us-east-1:123456789012:identity/a+b@é.example"
)

func callGo(endpoint string) {
	ctx := context.Background()
	start, end := time.Unix(1790000000, 0), time.Unix(1790600000, 0)
	provider := credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "")
	ses := sesv2.New(sesv2.Options{Region: "us-east-1", Credentials: provider, BaseEndpoint: &endpoint, RetryMaxAttempts: 1})
	lists := mailmanager.New(mailmanager.Options{Region: "us-east-1", Credentials: provider, BaseEndpoint: &endpoint, RetryMaxAttempts: 1})
	for _, err := range []error{
		second(ses.GetEmailIdentity(ctx, &sesv2.GetEmailIdentityInput{EmailIdentity: aws.String(identity)})),
		second(ses.GetEmailIdentity(ctx, &sesv2.GetEmailIdentityInput{EmailIdentity: aws.String("..")})),
		second(ses.DeleteEmailIdentity(ctx, &sesv2.DeleteEmailIdentityInput{EmailIdentity: aws.String("plain@example.com")})),
		second(ses.GetMessageInsights(ctx, &sesv2.GetMessageInsightsInput{MessageId: aws.String(message)})),
		second(ses.ListTagsForResource(ctx, &sesv2.ListTagsForResourceInput{ResourceArn: aws.String(arn)})),
		second(ses.UntagResource(ctx, &sesv2.UntagResourceInput{ResourceArn: aws.String(arn), TagKeys: []string{"b c", "a/b", "a-b", "é"}})),
		second(ses.ListEmailIdentities(ctx, &sesv2.ListEmailIdentitiesInput{PageSize: aws.Int32(7), NextToken: aws.String(token)})),
		second(ses.ListConfigurationSets(ctx, &sesv2.ListConfigurationSetsInput{PageSize: aws.Int32(7), NextToken: aws.String(token)})),
		second(ses.CancelExportJob(ctx, &sesv2.CancelExportJobInput{JobId: aws.String("ef28cf62-9d8e-4b60-9283-b09816c99a99")})),
		second(ses.CreateExportJob(ctx, &sesv2.CreateExportJobInput{
			ExportDataSource:  &types.ExportDataSource{MessageInsightsDataSource: &types.MessageInsightsDataSource{StartDate: &start, EndDate: &end}},
			ExportDestination: &types.ExportDestination{DataFormat: types.DataFormatCsv},
		})),
		second(lists.CreateAddressList(ctx, &mailmanager.CreateAddressListInput{AddressListName: aws.String("Käfer"), ClientToken: aws.String("t")})),
		second(lists.ListAddressLists(ctx, &mailmanager.ListAddressListsInput{NextToken: aws.String(token)})),
	} {
		if err != nil {
			log.Print(err) // {} is not every operation's answer
		}
	}
}

func second[T any](_ T, err error) error { return err }
