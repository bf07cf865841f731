package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/durable"
)

// Record is one that this state keeps beside its certificates.
type Record struct {
	File   string
	Report attest.Report // of somebody who trusts nobody; not a record when the file is damaged
}

// Records lists destructions and refused plans, and the manifests of jobs, oldest first.
func (a *Agent) Records() ([]Record, error) {
	files, err := filepath.Glob(filepath.Join(a.dir, recordsDir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	names, err := a.jobNames()
	if err != nil {
		return nil, err
	}
	for _, job := range names {
		files = append(files, filepath.Join(a.jobDir(job), manifestFile))
	}
	var list []Record
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list records: %w", err)
		}
		list = append(list, Record{file, attest.Verify(data, attest.Trust{})})
	}
	slices.SortStableFunc(list, func(x, y Record) int { return int(x.Report.LogIndex - y.Report.LogIndex) })
	return list, nil
}

// keepRecord files a record by the digest of what was signed.
func (a *Agent) keepRecord(data []byte) (string, error) {
	r := attest.Verify(data, attest.Trust{})
	if !r.IsRecord() {
		return "", fmt.Errorf("keep record: it does not verify: %v", r.Reasons)
	}
	dir := filepath.Join(a.dir, recordsDir)
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("keep record: %w", err)
	}
	name := filepath.Join(dir, r.RecordSHA256()[:16]+".json")
	return name, durable.WriteFile(name, data, 0o644)
}

// restoreRecords makes the files of records that are in the log and were never filed, or were lost: a process that is killed right after it
// has signed one leaves it so.
func (a *Agent) restoreRecords() error {
	if _, err := os.Stat(filepath.Join(a.LogDir(), "lock")); errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was ever logged
	}
	is, err := a.issuer()
	if err != nil {
		return err
	}
	records, err := is.Records()
	if err != nil {
		return err
	}
	for _, data := range records {
		name := filepath.Join(a.dir, recordsDir, attest.Verify(data, attest.Trust{}).RecordSHA256()[:16]+".json")
		if _, err := os.Stat(name); err == nil {
			continue
		}
		if _, err := a.keepRecord(data); err != nil {
			return err
		}
	}
	return nil
}

// ReissueRecords makes again the files of destructions of a drive, by its serial number, id or WWN, and says which.
func (a *Agent) ReissueRecords(name string) ([]string, error) {
	is, err := a.issuer()
	if err != nil {
		return nil, err
	}
	records, err := is.Records()
	if err != nil {
		return nil, err
	}
	var files []string
	for _, data := range records {
		d := attest.Verify(data, attest.Trust{}).Destruction
		if d == nil || d.Device.Serial != name && d.Device.ID != name && (d.Device.WWN == "" || d.Device.WWN != name) {
			continue
		}
		file, err := a.keepRecord(data)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// Supersede has a correction of a drive's certificate signed, or its withdrawal, and writes the certificate anew.
func (a *Agent) Supersede(job string, id devices.ID, c attest.Correction) (string, error) {
	is, err := a.issuer()
	if err != nil {
		return "", err
	}
	bundle, err := is.Supersede(job, string(id), c)
	if err != nil {
		return "", err
	}
	return a.keepCertificate(job, id, bundle)
}

// keepCertificate replaces a drive's certificate by one that has more.
func (a *Agent) keepCertificate(job string, id devices.ID, bundle []byte) (string, error) {
	name := a.driveFile(job, id, certificateFile)
	if err := durable.WriteFile(name, bundle, 0o644); err != nil {
		return "", fmt.Errorf("it is signed and logged, and the certificate could not be written; run certificate reissue: %w", err)
	}
	return name, nil
}

// AddCosigned keeps what others cosigned of this state's log.
func (a *Agent) AddCosigned(data []byte, known attest.Cosigners) (attest.Cosigned, error) {
	is, err := a.issuer()
	if err != nil {
		return attest.Cosigned{}, err
	}
	return is.AddCosigned(data, known)
}

// Checkpoint is the head of this state's log, for others to cosign.
func (a *Agent) Checkpoint() ([]byte, error) {
	is, err := a.issuer()
	if err != nil {
		return nil, err
	}
	return is.Log.Checkpoint()
}
