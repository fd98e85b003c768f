package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager/types"
	"github.com/aws/smithy-go"
)

// client is how commands reach a running server: as any AWS SDK does.
type client struct {
	Endpoint string `default:"http://127.0.0.1:9025" env:"SESAME_ENDPOINT,AWS_ENDPOINT_URL" placeholder:"URL" help:"The server (${default})."`
	Region   string `default:"us-east-1" env:"SESAME_REGION,AWS_REGION" help:"Its region (${default})."`
}

// config gives the SDK's configuration: credentials come from the environment,
// the shared files and so on, as the AWS CLI has them.
func (c client) config(ctx context.Context) (aws.Config, error) {
	if !strings.HasPrefix(c.Endpoint, "http://") && !strings.HasPrefix(c.Endpoint, "https://") {
		return aws.Config{}, usageError{fmt.Errorf("--endpoint %q must start with http:// or https://", c.Endpoint)}
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(c.Region), awsconfig.WithBaseEndpoint(c.Endpoint),
		awsconfig.WithEC2IMDSClientEnableState(imds.ClientDisabled)) // Sesame's keys are not an instance's
	if err != nil {
		return cfg, err
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return cfg, errors.New("there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key of the server's")
	}
	return cfg, nil
}

// kinder says in plain words what users can do about the commonest errors of a
// call to the server.
func (c client) kinder(err error) error {
	var api smithy.APIError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing answers at %s: start a server with `sesame serve`, or name one with --endpoint", c.Endpoint)
	case errors.As(err, &api):
		switch api.ErrorCode() {
		case "UnrecognizedClientException":
			return errors.New("the server does not know this access key: check AWS_ACCESS_KEY_ID")
		case "InvalidSignatureException":
			return fmt.Errorf("the server refuses the signature: check AWS_SECRET_ACCESS_KEY and --region (%s)", api.ErrorMessage())
		case "AccessDeniedException":
			return fmt.Errorf("%s: use a key that may (`sesame keys create`, where the server runs, makes one)", api.ErrorMessage())
		}
		return fmt.Errorf("%s: %s", api.ErrorCode(), api.ErrorMessage())
	}
	var unreached *url.Error // its text has the whole URL, which may be signed
	if errors.As(err, &unreached) {
		return fmt.Errorf("%s does not answer as it should: %w", c.Endpoint, unreached.Err)
	}
	return err
}

// interruptible gives a context that ends with Ctrl-C or SIGTERM. A second signal
// ends the program at once.
func interruptible() (ctx context.Context, stop func()) {
	ctx, stop = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// httpClient is the SDK's, which knows AWS_CA_BUNDLE.
func httpClient(cfg aws.Config) aws.HTTPClient {
	if cfg.HTTPClient != nil {
		return cfg.HTTPClient
	}
	return http.DefaultClient
}

// listID gives the id of the list that is named by its id or its name.
func listID(ctx context.Context, mm *mailmanager.Client, list string) (string, error) {
	if strings.HasPrefix(list, "al-") && len(list) == 29 {
		return list, nil
	}
	pages := mailmanager.NewListAddressListsPaginator(mm, &mailmanager.ListAddressListsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		var denied *types.AccessDeniedException
		if errors.As(err, &denied) {
			return "", errors.New("the key may not list address lists, so give the list's id instead of its name")
		}
		if err != nil {
			return "", err
		}
		for _, l := range page.AddressLists {
			if *l.AddressListName == list {
				return *l.AddressListId, nil
			}
		}
	}
	return "", fmt.Errorf("%w %q", errNoList, list)
}

var errNoList = errors.New("there is no address list")

// sesame calls one of Sesame's own operations, under /sesame/v1/, again when it
// comes too soon.
func sesame(ctx context.Context, cfg aws.Config, operation string, in, out any) error {
	for try := 0; ; try++ {
		err := sesameOnce(ctx, cfg, operation, in, out)
		var refused smithy.APIError
		if !errors.As(err, &refused) || refused.ErrorCode() != "ThrottlingException" || try == 60 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func sesameOnce(ctx context.Context, cfg aws.Config, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(*cfg.BaseEndpoint, "/")+"/sesame/v1/"+operation, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	credentials, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, r, hex.EncodeToString(digest[:]), "ses", cfg.Region, time.Now()); err != nil {
		return err
	}
	answer, err := httpClient(cfg).Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		var refused struct {
			Type    string `json:"__type"`
			Message string
		}
		if err := json.Unmarshal(text, &refused); err != nil {
			return fmt.Errorf("%s: %s", operation, answer.Status)
		}
		return &smithy.GenericAPIError{Code: refused.Type[strings.IndexByte(refused.Type, '#')+1:], Message: refused.Message}
	}
	return json.Unmarshal(text, out)
}
