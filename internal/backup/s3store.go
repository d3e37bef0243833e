package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"chancery/internal/durable"
)

const s3Scheme = "s3://"

// S3Options say how an object store is reached. Where nothing is said, the variables that
// all S3 clients know count: AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, AWS_REGION, and for
// the credentials AWS_ACCESS_KEY_ID and so on, the file ~/.aws/credentials, or the role of
// the machine. Credentials are given in no other way, so that they are in no command line,
// file of ours or message.
type S3Options struct {
	Endpoint string // https://host[:port]; http only where the network is trusted
	Region   string
	// Scratch is a directory of this machine for what is on its way; "" is below the
	// system's directory for temporary files.
	Scratch string
	// Patience bounds how long the store may be silent; 0: a minute.
	Patience time.Duration
	// Transport carries the requests; nil: one that trusts the system's authorities.
	Transport *http.Transport
}

const (
	defaultEndpoint = "https://s3.amazonaws.com"
	defaultPatience = time.Minute
	// s3Attempts is how often a request that fails for a passing reason is sent.
	s3Attempts = 3
	// betweenAttempts is more than what the client waits between two of them.
	betweenAttempts = 2 * time.Second
)

// s3Store is a prefix in a bucket.
type s3Store struct {
	fs             durable.FS
	name           string // as on the command line
	client         *minio.Client
	bucket, prefix string
	staging        string
	patience       time.Duration
}

func openS3(fsys durable.FS, name string, o S3Options) (*s3Store, error) {
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(name, s3Scheme), "/")
	if bucket == "" {
		return nil, fmt.Errorf("%s names no bucket: s3://BUCKET/PREFIX", name)
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	endpoint := firstOf(o.Endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"), defaultEndpoint)
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil {
		return nil, fmt.Errorf("the endpoint of the object store is %q; it should be https://host or https://host:port", endpoint)
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	t := o.Transport
	if t == nil {
		t = &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: o.Patience}).DialContext,
			TLSHandshakeTimeout: o.Patience, ResponseHeaderTimeout: o.Patience, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 4,
			DisableCompression: true,
		}
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds: credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{Client: &http.Client{Transport: t}},
		}),
		Secure: u.Scheme == "https", Transport: t, MaxRetries: s3Attempts, BucketLookup: minio.BucketLookupAuto,
		Region: firstOf(o.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")),
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	sum := sha256.Sum256([]byte(u.Host + "\n" + bucket + "\n" + prefix))
	scratch := filepath.Join(firstOf(o.Scratch, os.TempDir()), "chancery-backup-"+hex.EncodeToString(sum[:8]))
	return &s3Store{fs: fsys, name: name, client: client, bucket: bucket, prefix: prefix, staging: scratch, patience: o.Patience}, nil
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// String implements Store.
func (s *s3Store) String() string { return s.name }

// Local implements Store.
func (s *s3Store) Local(string) (string, bool) { return "", false }

// Staging implements Store.
func (s *s3Store) Staging() string { return s.staging }

// Lock implements Store: it keeps out other writers of this machine.
func (s *s3Store) Lock() (io.Closer, error) {
	if err := s.fs.MkdirAll(s.staging, 0o700); err != nil {
		return nil, err
	}
	lock, err := s.fs.Lock(s.staging)
	if errors.Is(err, durable.ErrLocked) {
		err = fmt.Errorf("another backup is being made there: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	return lock, nil
}

var errSilent = errors.New("the object store does not answer")

// watched is a reader or writer whose every use shows that the store is alive.
type watched struct {
	r     io.Reader
	w     io.Writer
	alive func()
}

// Read implements io.Reader.
func (a watched) Read(p []byte) (int, error) { a.alive(); return a.r.Read(p) }

// Write implements io.Writer.
func (a watched) Write(p []byte) (int, error) { a.alive(); return a.w.Write(p) }

// patient bounds how long the store may be silent until alive is called again.
func (s *s3Store) patient(ctx context.Context) (_ context.Context, alive, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	// The transport bounds how long each attempt may be silent; this is for all of them,
	// and for what is silent in the middle of a file.
	bound := s3Attempts * (s.patience + betweenAttempts)
	watch := time.AfterFunc(bound, func() { cancel(errSilent) })
	return ctx, func() { watch.Reset(bound) }, func() { watch.Stop(); cancel(nil) }
}

// Put implements Store.
func (s *s3Store) Put(ctx context.Context, name, path string) (err error) {
	f, err := s.fs.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	patient, alive, stop := s.patient(ctx)
	defer stop()
	_, err = s.client.PutObject(patient, s.bucket, s.prefix+name, watched{r: f, alive: alive}, size, minio.PutObjectOptions{
		ContentType: "application/octet-stream", SendContentMd5: true, // which the store compares
	})
	if err != nil {
		return s.explain(patient, "storing "+name, err)
	}
	info, err := s.client.StatObject(patient, s.bucket, s.prefix+name, minio.StatObjectOptions{})
	if err != nil {
		return s.explain(patient, "looking at "+name+", which was just stored", err)
	}
	if info.Size != size {
		err := fmt.Errorf("%s: %s was stored with %d bytes, and the object store says that it has %d: it does not keep what it is given; use another store", s.name, name, size, info.Size)
		return errors.Join(err, s.Remove(ctx, name))
	}
	if err := s.fs.Remove(path); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// Get implements Store.
func (s *s3Store) Get(ctx context.Context, name string, w io.Writer) (err error) {
	patient, alive, stop := s.patient(ctx)
	defer stop()
	o, err := s.client.GetObject(patient, s.bucket, s.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return s.explain(patient, "reading "+name, err)
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	if _, err := io.Copy(w, watched{r: o, alive: alive}); err != nil {
		return s.explain(patient, "reading "+name, err)
	}
	return nil
}

// List implements Store.
func (s *s3Store) List(ctx context.Context) ([]Object, error) {
	patient, alive, stop := s.patient(ctx)
	defer stop()
	var out []Object
	for o := range s.client.ListObjects(patient, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix, Recursive: true}) {
		if o.Err != nil {
			return nil, s.explain(patient, "listing", o.Err)
		}
		alive()
		out = append(out, Object{Name: strings.TrimPrefix(o.Key, s.prefix), Size: o.Size})
	}
	return out, nil
}

// Remove implements Store.
func (s *s3Store) Remove(ctx context.Context, name string) error {
	patient, _, stop := s.patient(ctx)
	defer stop()
	if err := s.client.RemoveObject(patient, s.bucket, s.prefix+name, minio.RemoveObjectOptions{}); err != nil {
		return s.explain(patient, "removing "+name, err)
	}
	return nil
}

// explain says what an error of the object store means and what helps.
func (s *s3Store) explain(ctx context.Context, what string, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		err = errSilent
	}
	var timeout net.Error
	r := minio.ToErrorResponse(err)
	help := ""
	switch {
	case errors.Is(err, errTooLong), errors.Is(err, context.Canceled):
	case r.Code == minio.NoSuchKey:
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case r.Code == minio.NoSuchBucket:
		help = "make the bucket first"
	case r.Code == minio.AccessDenied, r.Code == "InvalidAccessKeyId", r.Code == "SignatureDoesNotMatch":
		help = "the credentials in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), in ~/.aws/credentials or of this machine must allow it"
	case errors.Is(err, errSilent), errors.As(err, &timeout) && timeout.Timeout():
		help = fmt.Sprintf("it was silent for %v; look whether it is up and reachable, and run the same command again: it goes on where this one ended", s.patience)
	case r.StatusCode >= 500:
		help = fmt.Sprintf("it answered %d, %d times; run the same command again when it is well: it goes on where this one ended", r.StatusCode, s3Attempts)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		help = "it sent less than it said; run the same command again"
	}
	if help != "" {
		help = " (" + help + ")"
	}
	return fmt.Errorf("%s: %s: %w%s", s.name, what, err, help)
}
