// Package mailmanager is the SES Mail Manager API as far as Sesame has it: its
// shapes, its operation table, and for each operation a handler that translates
// between the shapes and the domain. The API's pages and model are what it
// follows; where they are silent, COMPATIBILITY.md says what was chosen.
//
// It may import wire and the domain packages, and no store.
package mailmanager

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"math"
	"regexp"
	"strings"
	"time"

	"sesame/internal/address"
	"sesame/internal/importer"
	"sesame/internal/lists"
	"sesame/internal/wire"
)

// API is what the handlers need.
type API struct {
	Region  string
	Lists   *lists.Service
	Imports *importer.Service
	Pages   wire.Pages
	Now     func() time.Time
	// UploadURL is a URL, signed at a time, to which a job's file can be PUT.
	UploadURL func(jobID string, at time.Time) string
	// RefusedURL is a URL, signed at a time, from which a job's refused lines can be fetched.
	RefusedURL func(jobID string, at time.Time) string
	// MembersURL is a URL, signed at a time, from which an account's list can be
	// fetched as a file of that name: .csv or .json, and .gz behind that for gzip.
	MembersURL func(account, listID, file string, at time.Time) string
}

// The errors of the model.
const (
	accessDenied  = "AccessDeniedException"
	conflict      = "ConflictException"
	notFound      = "ResourceNotFoundException"
	quotaExceeded = "ServiceQuotaExceededException"
	throttling    = "ThrottlingException"
	validation    = "ValidationException"
)

// Service is the API's table. Names and declared errors are the model's.
func (a *API) Service() *wire.Service {
	return &wire.Service{
		Namespace: "com.amazonaws.mailmanager",
		Target:    "MailManagerSvc",
		IAMPrefix: "ses",
		Errors: map[string]int{
			accessDenied: 403, conflict: 409, notFound: 404, quotaExceeded: 402, throttling: 429, validation: 400,
		},
		Operations: []wire.Operation{
			wire.Op("CreateAddressList", true, a.accessCreateList, a.createAddressList, accessDenied, conflict, quotaExceeded, throttling, validation),
			wire.Op("GetAddressList", false, func(ctx context.Context, c wire.Caller, in *getAddressListInput) (wire.Access, error) {
				return a.accessList(ctx, c, *in.AddressListId)
			}, a.getAddressList, accessDenied, notFound, throttling, validation),
			wire.Op("ListAddressLists", false, func(context.Context, wire.Caller, *listAddressListsInput) (wire.Access, error) {
				return wire.Access{Resource: "*"}, nil
			}, a.listAddressLists, accessDenied, throttling, validation),
			wire.Op("DeleteAddressList", true, func(ctx context.Context, c wire.Caller, in *deleteAddressListInput) (wire.Access, error) {
				return a.accessList(ctx, c, *in.AddressListId)
			}, a.deleteAddressList, accessDenied, conflict, throttling, validation),
			wire.Op("RegisterMemberToAddressList", true, a.accessMember, a.registerMember, accessDenied, conflict, notFound, quotaExceeded, throttling, validation),
			wire.Op("DeregisterMemberFromAddressList", true, a.accessMember, a.deregisterMember, accessDenied, conflict, notFound, throttling, validation),
			wire.Op("GetMemberOfAddressList", false, a.accessMember, a.getMember, accessDenied, notFound, throttling, validation),
			wire.Op("ListMembersOfAddressList", false, func(ctx context.Context, c wire.Caller, in *listMembersInput) (wire.Access, error) {
				return a.accessList(ctx, c, *in.AddressListId)
			}, a.listMembers, accessDenied, notFound, throttling, validation),
			wire.Op("CreateAddressListImportJob", true, func(ctx context.Context, c wire.Caller, in *createImportJobInput) (wire.Access, error) {
				return a.accessList(ctx, c, *in.AddressListId)
			}, a.createImportJob, accessDenied, notFound, throttling, validation),
			wire.Op("StartAddressListImportJob", true, a.accessJob, a.startImportJob, accessDenied, conflict, notFound, quotaExceeded, throttling, validation),
			wire.Op("StopAddressListImportJob", true, a.accessJob, a.stopImportJob, accessDenied, conflict, notFound, throttling, validation),
			wire.Op("GetAddressListImportJob", false, a.accessJob, a.getImportJob, accessDenied, notFound, throttling, validation),
			wire.Op("ListAddressListImportJobs", false, func(ctx context.Context, c wire.Caller, in *listImportJobsInput) (wire.Access, error) {
				return a.accessList(ctx, c, *in.AddressListId)
			}, a.listImportJobs, accessDenied, notFound, throttling, validation),
			wire.Op("TagResource", true, a.accessTag, a.tagResource, conflict, notFound, quotaExceeded, validation),
			wire.Op("UntagResource", true, a.accessUntag, a.untagResource, conflict, notFound, validation),
			wire.Op("ListTagsForResource", false, func(ctx context.Context, c wire.Caller, in *listTagsInput) (wire.Access, error) {
				return a.accessARN(ctx, c, *in.ResourceArn)
			}, a.listTags, notFound, validation),
		},
	}
}

// SesameOperations are the operations on address lists that Sesame adds.
func (a *API) SesameOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("MatchAddressList", false, func(ctx context.Context, c wire.Caller, in *matchAddressListInput) (wire.Access, error) {
			return a.accessList(ctx, c, *in.AddressListId)
		}, a.matchAddressList, accessDenied, notFound, throttling, validation),
		wire.Op("CreateAddressListImportJob", true, func(ctx context.Context, c wire.Caller, in *createImportInput) (wire.Access, error) {
			return a.accessList(ctx, c, *in.AddressListId)
		}, a.createImport, accessDenied, notFound, throttling, validation),
		wire.Op("GetAddressListImportReport", false, a.accessJob, a.getImportReport, accessDenied, notFound, throttling, validation),
		// It changes nothing, but who takes out a whole list should be in the audit log.
		wire.Op("ExportAddressList", true, func(ctx context.Context, c wire.Caller, in *exportAddressListInput) (wire.Access, error) {
			return a.accessList(ctx, c, *in.AddressListId)
		}, a.exportAddressList, accessDenied, notFound, throttling, validation),
	}
}

func (a *API) owner(c wire.Caller) lists.Owner {
	return lists.Owner{Account: c.Account, Region: a.Region}
}

// refuse gives the model's error for what the domain says.
func refuse(err error) error {
	var reason address.Reason
	switch {
	case err == nil:
		return nil
	case errors.Is(err, lists.ErrNotFound):
		return wire.Errorf(notFound, "The address list was not found.")
	case errors.Is(err, lists.ErrNotMember):
		return wire.Errorf(notFound, "The address is not a member of the address list.")
	case errors.Is(err, lists.ErrNameTaken):
		return wire.Errorf(conflict, "An address list with this name already exists.")
	case errors.Is(err, lists.ErrImportRunning):
		return wire.Errorf(conflict, "An import job into the address list is running. Stop it or wait for its end.")
	case errors.Is(err, lists.ErrTooManyLists):
		return wire.Errorf(quotaExceeded, "The account has as many address lists as it may have.")
	case errors.Is(err, lists.ErrListFull):
		return wire.Errorf(quotaExceeded, "The address list holds as many addresses as it may hold.")
	case errors.Is(err, lists.ErrTooManyTags):
		return wire.Errorf(quotaExceeded, "The resource would have more tags than it may have.")
	case errors.Is(err, importer.ErrNotFound):
		return wire.Errorf(notFound, "The import job was not found.")
	case errors.Is(err, importer.ErrNothingUploaded):
		return wire.Errorf(conflict, "Nothing was uploaded for the import job. PUT the file to its PreSignedUrl first.")
	case errors.Is(err, importer.ErrEnded):
		return wire.Errorf(conflict, "The import job has ended. Create another to import again.")
	case errors.Is(err, importer.ErrNotStarted):
		return wire.Errorf(conflict, "The import job was never started.")
	case errors.Is(err, importer.ErrTooManyRunning):
		return wire.Errorf(quotaExceeded, "As many import jobs as may run at once are running.")
	case errors.As(err, &reason):
		return wire.Errorf(validation, "The address is not valid: %s", reason.Error())
	}
	return err
}

// Ids are a prefix and 26 alphanumerics; another form is refused before
// existence is looked at.
var (
	listID = regexp.MustCompile(`^al-[a-zA-Z0-9]{26}$`)
	jobID  = regexp.MustCompile(`^job-[a-zA-Z0-9]{26}$`)
)

const listResource = "mailmanager-address-list/"

// arn gives the ARN of a list; id may be "*".
func (a *API) arn(account, id string) string {
	partition := "aws"
	for prefix, p := range map[string]string{"cn-": "aws-cn", "us-gov-": "aws-us-gov", "eusc-": "aws-eusc"} {
		if strings.HasPrefix(a.Region, prefix) {
			partition = p
		}
	}
	return "arn:" + partition + ":ses:" + a.Region + ":" + account + ":" + listResource + id
}

// accessList asks for access to a list, which need not exist.
func (a *API) accessList(ctx context.Context, c wire.Caller, id string) (wire.Access, error) {
	if !listID.MatchString(id) {
		return wire.Access{}, wire.Errorf(validation, "The AddressListId is not of the form al- and 26 letters and digits.")
	}
	access := wire.Access{Resource: a.arn(c.Account, id)}
	l, err := a.Lists.Get(ctx, a.owner(c), id)
	if errors.Is(err, lists.ErrNotFound) {
		return access, nil // says nothing to who may not know
	}
	access.ResourceTags = l.Tags
	return access, err
}

func (a *API) accessMember(ctx context.Context, c wire.Caller, in *memberInput) (wire.Access, error) {
	return a.accessList(ctx, c, *in.AddressListId)
}

// accessJob asks for access to the list of a job: jobs have no ARN. A job that does not exist could be of any list.
func (a *API) accessJob(ctx context.Context, c wire.Caller, in *jobInput) (wire.Access, error) {
	if !jobID.MatchString(*in.JobId) {
		return wire.Access{}, wire.Errorf(validation, "The JobId is not of the form job- and 26 letters and digits.")
	}
	j, err := a.Imports.Get(ctx, a.owner(c), *in.JobId)
	if errors.Is(err, importer.ErrNotFound) {
		return wire.Access{Resource: a.arn(c.Account, "*")}, nil
	}
	if err != nil {
		return wire.Access{}, err
	}
	access, err := a.accessList(ctx, c, j.ListID)
	access.Job = j.ID
	return access, err
}

// accessARN asks for access to a resource by its ARN.
func (a *API) accessARN(ctx context.Context, c wire.Caller, arn string) (wire.Access, error) {
	id, ok := strings.CutPrefix(arn, a.arn(c.Account, ""))
	if !ok || !listID.MatchString(id) {
		return wire.Access{Resource: arn}, nil // the handler does not find it
	}
	return a.accessList(ctx, c, id)
}

func (a *API) accessCreateList(_ context.Context, c wire.Caller, in *createAddressListInput) (wire.Access, error) {
	tags, err := tagMap(in.Tags)
	return wire.Access{Resource: a.arn(c.Account, "*"), RequestTags: tags, TagKeys: keys(tags)}, err
}

func (a *API) accessTag(ctx context.Context, c wire.Caller, in *tagResourceInput) (wire.Access, error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return wire.Access{}, err
	}
	access, err := a.accessARN(ctx, c, *in.ResourceArn)
	access.RequestTags, access.TagKeys = tags, keys(tags)
	return access, err
}

func (a *API) accessUntag(ctx context.Context, c wire.Caller, in *untagResourceInput) (wire.Access, error) {
	access, err := a.accessARN(ctx, c, *in.ResourceArn)
	access.TagKeys = values(in.TagKeys)
	return access, err
}

// tagMap gives tags as a map; a key given twice is refused.
func tagMap(tags []*tag) (map[string]string, error) {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		if _, twice := m[*t.Key]; twice {
			return nil, wire.Errorf(validation, "The tag key %s is given more than once.", *t.Key)
		}
		m[*t.Key] = *t.Value
	}
	return m, nil
}

func keys(m map[string]string) []string {
	k := make([]string, 0, len(m))
	for key := range m {
		k = append(k, key)
	}
	return k
}

func values(p []*string) []string {
	v := make([]string, len(p))
	for i := range p {
		v[i] = *p[i]
	}
	return v
}

// digest is the same for inputs with the same parameters; the caller leaves the
// client token out.
func digest(input any) []byte {
	text, err := json.Marshal(input)
	if err != nil {
		panic("mailmanager: an input does not encode: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return sum[:]
}

// count is a number of items as the model has it: a 32-bit integer.
func count(n int64) *int32 {
	c := int32(min(n, math.MaxInt32))
	return &c
}

// pageSize is how many a listing gives when the request does not say: the most
// that it may ask for.
func pageSize(asked *int32, most int) int {
	if asked == nil {
		return most
	}
	return int(*asked)
}
