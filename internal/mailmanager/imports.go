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
	return a.createJob(ctx, c, importer.Order{
		ListID: *in.AddressListId, Name: *in.Name, Format: importfile.Format(*in.ImportDataFormat.ImportDataType), Mode: lists.Append,
	}, in.ClientToken, params)
}

// createImport is createImportJob for an import in one of Sesame's modes.
func (a *API) createImport(ctx context.Context, c wire.Caller, in *createImportInput) (*createImportJobOutput, error) {
	order := importer.Order{ListID: *in.AddressListId, Name: *in.Name, Format: importfile.Format(*in.ImportDataFormat.ImportDataType), Mode: lists.Append}
	if in.Mode != nil {
		order.Mode = lists.Mode(*in.Mode)
	}
	if in.DryRun != nil {
		order.DryRun = *in.DryRun
	}
	return a.createJob(ctx, c, order, in.ClientToken, digest(order))
}

func (a *API) createJob(ctx context.Context, c wire.Caller, order importer.Order, token *string, params []byte) (*createImportJobOutput, error) {
	id, created, err := a.Imports.Create(ctx, a.owner(c), order, lists.NewClientToken(token, params, a.Now()))
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
		imported := j.Progress.Imported
		if j.DryRun {
			imported = 0
		}
		out.ImportedItemsCount, out.FailedItemsCount = count(imported), count(j.Progress.Refused())
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
	p := j.Progress
	out := &importReport{
		JobId: j.ID, Status: string(j.Status), Mode: string(j.Mode), DryRun: j.DryRun, ShareDone: p.Share,
		LinesRead: p.Lines, Imported: p.Imported, Invalid: p.Refused(), InvalidByReason: []refusedFor{}, Phases: []phase{},
		OverLimit: p.Over,
	}
	if p.Read {
		out.Lines = &p.Lines
	}
	switch {
	case j.Status == jobs.Failed || j.Status == jobs.Stopped: // nothing came of what was merged
	case j.Mode == lists.Remove:
		out.Removed, out.NotPresent = p.Removed, p.Entries-p.Removed
	default:
		out.Added, out.AlreadyPresent, out.Removed = p.Added, p.Entries-p.Added, p.Removed
	}
	if p.Imported > 0 {
		out.DuplicateInFile = p.Imported - p.Entries
	}
	if j.Status == jobs.Completed {
		out.Members = &p.Members
	}
	for _, ph := range p.Phases {
		out.Phases = append(out.Phases, phase{Name: ph.Name, Seconds: ph.Seconds, Rows: ph.Rows, RowsPerSecond: rate(ph.Rows, ph.Seconds), Bytes: ph.Bytes})
	}
	for _, code := range slices.Sorted(maps.Keys(p.Invalid)) {
		out.InvalidByReason = append(out.InvalidByReason, refusedFor{Code: code, Reason: reasonOf(code), Lines: p.Invalid[code]})
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

func rate(n int64, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return float64(n) / seconds
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
