// Package s3put puts files of exports into an object store of S3's protocol.
//
// It promises that an object is there whole or as it was before, that what the store
// has is what was written (CRC32C, the same as that of the file), that memory does not
// grow with the file, and that a store that is away or too slow is given up after a
// time.
//
// It may import exporter, whose Destination it is.
package s3put

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"sesame/internal/exporter"
)

// Config says which store it is. Zero times and sizes are the usual ones.
type Config struct {
	Endpoint    string // "https://host:port" of a store that is not Amazon's, with buckets in the path
	Region      string
	AccessKeyID string // "" for the SDK's own chain of credentials
	Secret      string

	Stall    time.Duration // without a byte sent or received a connection is given up after it: 1 min
	Patience time.Duration // a call is tried again for so long after the last one that succeeded: 5 min
	Pause    time.Duration // the longest between two tries: 20 s
	Part     int64         // bytes of a part, at least 5 MiB: 16 MiB, and more of files that would have over 10,000
}

// Store is an exporter.Destination.
type Store struct {
	config    Config
	client    *s3.Client
	finishing *http.Client // for completing: the store may be silent while it puts parts together
	transport [2]*http.Transport
	log       *slog.Logger
}

var _ exporter.Destination = (*Store)(nil)

const (
	mostParts   = 10_000 // https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
	partsAtOnce = 4
	mostStarts  = 3               // of one file's upload: a store can forget one
	abortWithin = 3 * time.Second // the server must stop within 10 s
)

// Open prepares a Store and asks nobody. It fails when the SDK's own configuration
// cannot be read.
func Open(ctx context.Context, c Config, log *slog.Logger) (*Store, error) {
	c.Stall, c.Patience, c.Pause = cmp.Or(c.Stall, time.Minute), cmp.Or(c.Patience, 5*time.Minute), cmp.Or(c.Pause, 20*time.Second)
	c.Part = cmp.Or(c.Part, 16<<20)
	options := []func(*config.LoadOptions) error{config.WithRegion(c.Region)}
	if c.AccessKeyID != "" {
		options = append(options, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.Secret, "")))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("prepare to put exports into S3: %w", err)
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	if client, ok := loaded.HTTPClient.(*awshttp.BuildableClient); ok {
		base = client.GetTransport() // it trusts what AWS_CA_BUNDLE says
	}
	s := &Store{config: c, log: log, transport: [2]*http.Transport{transport(base, c.Stall), transport(base, c.Patience)}}
	s.finishing = &http.Client{Transport: s.transport[1], CheckRedirect: asItIs}
	s.client = s3.NewFromConfig(loaded, func(o *s3.Options) {
		o.HTTPClient = &http.Client{Transport: s.transport[0], CheckRedirect: asItIs}
		o.BaseEndpoint = nil // not AWS_ENDPOINT_URL, by which clients find Sesame
		if c.Endpoint != "" {
			o.BaseEndpoint, o.UsePathStyle = &c.Endpoint, true
		}
	})
	return s, nil
}

// asItIs has redirections answered as errors: a bucket is in another region.
func asItIs(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close closes idle connections. No Put may run.
func (s *Store) Close() error {
	for _, t := range s.transport {
		t.CloseIdleConnections()
	}
	return nil
}

// credentials has the server's credentials at hand. They can be a machine's or a role's,
// and then a server that gives them can be away: for as long as a connection may stand
// still they are asked for again.
func (p *put) credentials(ctx context.Context) error {
	for begun := time.Now(); ; {
		_, err := p.client.Options().Credentials.Retrieve(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(begun) >= p.config.Stall {
			return &exporter.DestinationError{Why: "the server has no credentials for it, or could not get them. Whoever runs it must give it some, or see that it can get them.", Err: err}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(p.config.Pause):
		}
	}
}

// Put is exporter.Destination's. A file of at most a part is put at once; a larger one
// in parts, some at once.
func (s *Store) Put(ctx context.Context, url string, f exporter.File, content io.ReaderAt) error {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(url, "s3://"), "/")
	p := &put{Store: s, bucket: bucket, key: key, file: f, content: content, patience: newPatience(s.config, s.log)}
	err := p.credentials(ctx)
	if err != nil {
		return err
	}
	for range mostStarts {
		if f.Size <= s.config.Part {
			err = p.whole(ctx)
		} else {
			err = p.inParts(ctx)
		}
		if !errors.As(err, new(*types.NoSuchUpload)) {
			break
		}
	}
	if err == nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	var broken *unreadable
	if errors.As(err, &broken) {
		return fmt.Errorf("put %s: %w", url, broken.error)
	}
	return &exporter.DestinationError{Why: p.why(err), Err: fmt.Errorf("put %s: %w", url, err)}
}

// put is the putting of one file.
type put struct {
	*Store
	bucket, key string
	file        exporter.File
	content     io.ReaderAt
	patience    *patience
}

// unreadable is an error of the file, and not of the store.
type unreadable struct{ error }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// section gives a part of the file and its checksum, as S3 has it. What it then reads
// does not fail for want of a disk.
func (p *put) section(offset, size int64) (*io.SectionReader, string, error) {
	r, sum := io.NewSectionReader(p.content, offset, size), crc32.New(castagnoli)
	if n, err := io.CopyN(sum, r, size); err != nil {
		return nil, "", &unreadable{fmt.Errorf("read the file: %d of %d bytes from %d on: %w", n, size, offset, err)}
	}
	_, err := r.Seek(0, io.SeekStart)
	return r, base64.StdEncoding.EncodeToString(sum.Sum(nil)), err
}

func (p *put) whole(ctx context.Context) error {
	body, sum, err := p.section(0, p.file.Size)
	if err == nil && sum != p.file.CRC32C {
		err = &unreadable{fmt.Errorf("the file's checksum is %s and was %s", sum, p.file.CRC32C)}
	}
	if err != nil {
		return err
	}
	_, err = p.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &p.bucket, Key: &p.key, ContentType: new(p.file.ContentType()), Body: body, ContentLength: &p.file.Size, ChecksumCRC32C: &sum,
	}, p.patience.use)
	return err
}

func (p *put) inParts(ctx context.Context) (err error) {
	upload, err := p.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &p.bucket, Key: &p.key, ContentType: new(p.file.ContentType()),
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c, ChecksumType: types.ChecksumTypeFullObject,
	}, p.patience.use)
	if err != nil {
		return err
	}
	p.patience.renew()
	defer func() {
		if err != nil {
			p.abort(ctx, upload.UploadId)
		}
	}()

	size := partSize(p.file.Size, p.config.Part)
	parts := make([]types.CompletedPart, (p.file.Size+size-1)/size)
	group, partCtx := errgroup.WithContext(ctx)
	group.SetLimit(partsAtOnce)
	for i := range parts {
		group.Go(func() error {
			if err := partCtx.Err(); err != nil {
				return err
			}
			offset := int64(i) * size
			body, sum, err := p.section(offset, min(size, p.file.Size-offset))
			if err != nil {
				return err
			}
			done, err := p.client.UploadPart(partCtx, &s3.UploadPartInput{
				Bucket: &p.bucket, Key: &p.key, UploadId: upload.UploadId, PartNumber: new(int32(i + 1)),
				Body: body, ContentLength: new(body.Size()), ChecksumCRC32C: &sum,
			}, p.patience.use)
			if err != nil {
				return err
			}
			p.patience.renew()
			parts[i] = types.CompletedPart{PartNumber: new(int32(i + 1)), ETag: done.ETag, ChecksumCRC32C: &sum}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	// The store compares the checksum of the whole object with the file's.
	_, err = p.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &p.bucket, Key: &p.key, UploadId: upload.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		ChecksumCRC32C: &p.file.CRC32C, ChecksumType: types.ChecksumTypeFullObject, MpuObjectSize: &p.file.Size,
	}, p.patience.use, func(o *s3.Options) { o.HTTPClient = p.finishing })
	return err
}

// abort has the store forget an upload's parts. One that cannot be reached keeps them.
func (p *put) abort(ctx context.Context, upload *string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortWithin)
	defer cancel()
	_, err := p.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &p.bucket, Key: &p.key, UploadId: upload}, func(o *s3.Options) { o.Retryer = aws.NopRetryer{} })
	if err != nil && !errors.As(err, new(*types.NoSuchUpload)) {
		p.log.Warn("parts of an export stay in the store, hidden, until it removes unfinished uploads", "bucket", p.bucket, "upload", aws.ToString(upload), "error", err)
	}
}

// partSize is least, or what has a file of size bytes fit into all parts that there
// may be, in whole MiB.
func partSize(size, least int64) int64 {
	need := (size + mostParts - 1) / mostParts
	return max(least, (need+1<<20-1)>>20<<20)
}
