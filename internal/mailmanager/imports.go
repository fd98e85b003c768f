package mailmanager

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"sesame/internal/address"
	"sesame/internal/importer"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
	"sesame/internal/lists"
	"sesame/internal/wire"
)

func (a *API) createImportJob(ctx context.Context, c wire.Caller, in *createImportJobInput) (*createImportJobOutput, error) {
	params := digest(createImportJobInput{AddressListId: in.AddressListId, Name: in.Name, ImportDataFormat: in.ImportDataFormat})
	id, created, err := a.Imports.Create(ctx, a.owner(c), *in.AddressListId, *in.Name,
		importfile.Format(*in.ImportDataFormat.ImportDataType), lists.NewClientToken(in.ClientToken, params, a.Now()))
	if errors.Is(err, lists.ErrTokenReused) {
		// The operation declares no conflict.
		return nil, wire.Errorf(validation, "The ClientToken was used before with other parameters.")
	}
	if err != nil {
		return nil, refuse(err)
	}
	// Signed as of the creation, the URL of a repeated request is the first answer's.
	return &createImportJobOutput{JobId: id, PreSignedUrl: a.UploadURL(id, created)}, nil
}

func (a *API) startImportJob(ctx context.Context, c wire.Caller, in *jobInput) (*empty, error) {
	return &empty{}, refuse(a.Imports.Start(ctx, a.owner(c), *in.JobId))
}

func (a *API) stopImportJob(ctx context.Context, c wire.Caller, in *jobInput) (*empty, error) {
	return &empty{}, refuse(a.Imports.Stop(ctx, a.owner(c), *in.JobId))
}

func (a *API) getImportJob(ctx context.Context, c wire.Caller, in *jobInput) (*importJob, error) {
	j, err := a.Imports.Get(ctx, a.owner(c), *in.JobId)
	if err != nil {
		return nil, refuse(err)
	}
	out := a.jobShape(j)
	return &out, nil
}

func (a *API) listImportJobs(ctx context.Context, c wire.Caller, in *listImportJobsInput) (*listImportJobsOutput, error) {
	before, err := a.Pages.Cursor(c, "ListAddressListImportJobs", *in.AddressListId, in.NextToken)
	if err != nil {
		return nil, err
	}
	n := pageSize(in.PageSize, 50)
	found, err := a.Imports.List(ctx, a.owner(c), *in.AddressListId, before, n+1)
	if err != nil {
		return nil, refuse(err)
	}
	next := ""
	if len(found) > n {
		found, next = found[:n], found[n-1].ID
	}
	out := &listImportJobsOutput{ImportJobs: make([]importJob, len(found)), NextToken: a.Pages.Token(c, "ListAddressListImportJobs", *in.AddressListId, next)}
	for i, j := range found {
		out.ImportJobs[i] = a.jobShape(j)
	}
	return out, nil
}

func (a *API) jobShape(j importer.Job) importJob {
	// While the URL is of use it is signed anew; afterwards the member, which the
	// model requires, says what it said at first.
	signed := j.Created
	if j.Status == jobs.Created {
		signed = a.Now()
	}
	out := importJob{
		JobId: j.ID, Name: j.Name, Status: string(j.Status), PreSignedUrl: a.UploadURL(j.ID, signed),
		ImportDataFormat: importDataFormat{ImportDataType: string(j.Format)},
		AddressListId:    j.ListID, CreatedTimestamp: j.Created,
		StartTimestamp: optional(j.Started), CompletedTimestamp: optional(j.Completed),
	}
	if j.Status != jobs.Created {
		out.ImportedItemsCount, out.FailedItemsCount = count(j.Imported), count(j.Failed)
	}
	if j.Error != "" {
		out.Error = &j.Error
	}
	return out
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (a *API) getImportReport(ctx context.Context, c wire.Caller, in *jobInput) (*importReport, error) {
	j, err := a.Imports.Get(ctx, a.owner(c), *in.JobId)
	if err != nil {
		return nil, refuse(err)
	}
	out := &importReport{
		JobId: j.ID, Status: string(j.Status), Imported: j.Imported, Added: j.Added, AlreadyPresent: j.Entries - j.Added,
		DuplicateInFile: j.Imported - j.Entries, Invalid: j.Failed, InvalidByReason: []refusedFor{},
	}
	if j.Lines > 0 {
		out.Lines = &j.Lines
	}
	for _, code := range slices.Sorted(maps.Keys(j.RefusedFor)) {
		out.InvalidByReason = append(out.InvalidByReason, refusedFor{Code: code, Reason: reasonOf(code), Lines: j.RefusedFor[code]})
	}
	if j.RefusedObject != "" {
		url := a.RefusedURL(j.ID, a.Now())
		out.RefusedLinesUrl = &url
	}
	if j.Error != "" {
		out.Error = &j.Error
	}
	return out, nil
}

// reasonOf gives a reason code in plain words. Where a file and an entry can be
// wrong in the same way, the words are about the entry.
func reasonOf(code string) string {
	for _, r := range address.Reasons() {
		if r.Code() == code {
			return r.Error()
		}
	}
	return importfile.Code(code).Error()
}
