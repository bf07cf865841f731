package attest

import (
	"bytes"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/expunge-dev/expunge/internal/durable"
)

// aheadFS is a log's directory as it is when the write-ahead file is settled: for who only reads it. A file
// that is there with other contents than a cut can leave is shown as it is.
type aheadFS struct {
	fs.FS
	files map[string][]byte
}

// withAhead shows a log's directory with what its write-ahead file says. One that is damaged, or is older than
// the checkpoint, since others go on writing, says nothing: the other files have to stand by themselves.
func withAhead(log fs.FS) (fs.FS, error) {
	text, err := readLimited(log, aheadName, maxAhead)
	if errors.Is(err, fs.ErrNotExist) {
		return log, nil
	}
	if err != nil {
		return nil, err
	}
	checkpoint, err := readCheckpoint(log)
	if err != nil {
		return nil, err
	}
	a, err := readAhead(text)
	if err != nil || a.last == 0 || !a.explains(checkpoint) {
		return log, nil
	}
	f := aheadFS{log, map[string][]byte{}}
	for _, file := range a.files {
		have, err := readLimited(log, file.Name, MaxSize)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if file.Name == "checkpoint" || durable.Left(have, file.Data) {
			f.files[file.Name] = file.Data
		}
	}
	return f, nil
}

// Open opens a file.
func (f aheadFS) Open(name string) (fs.File, error) {
	if data, ok := f.files[name]; ok {
		return &aheadFile{bytes.NewReader(data), aheadInfo{path.Base(name), int64(len(data)), 0o644}}, nil
	}
	return f.FS.Open(name)
}

// Stat is of a file, or of a directory that a record's files are in.
func (f aheadFS) Stat(name string) (fs.FileInfo, error) {
	if data, ok := f.files[name]; ok {
		return aheadInfo{path.Base(name), int64(len(data)), 0o644}, nil
	}
	info, err := fs.Stat(f.FS, name)
	if errors.Is(err, fs.ErrNotExist) && len(f.below(name)) > 0 {
		return aheadInfo{path.Base(name), 0, fs.ModeDir | 0o755}, nil
	}
	return info, err
}

// ReadDir lists a directory, and in it what the records' files add.
func (f aheadFS) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := fs.ReadDir(f.FS, name)
	own := f.below(name)
	if errors.Is(err, fs.ErrNotExist) && len(own) > 0 {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(d fs.DirEntry) bool { _, ok := own[d.Name()]; return ok && !d.IsDir() })
	for _, d := range list {
		delete(own, d.Name())
	}
	for _, info := range own {
		list = append(list, fs.FileInfoToDirEntry(info))
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

// below are the files and directories that the records have in a directory.
func (f aheadFS) below(dir string) map[string]aheadInfo {
	list := map[string]aheadInfo{}
	for name, data := range f.files {
		rest, in := strings.CutPrefix(name, dir+"/")
		if dir == "." {
			rest, in = name, true
		}
		if !in {
			continue
		}
		first, _, deeper := strings.Cut(rest, "/")
		info := aheadInfo{first, int64(len(data)), 0o644}
		if deeper {
			info = aheadInfo{first, 0, fs.ModeDir | 0o755}
		}
		list[first] = info
	}
	return list
}

type aheadFile struct {
	*bytes.Reader
	info aheadInfo
}

func (f *aheadFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *aheadFile) Close() error               { return nil }

type aheadInfo struct {
	name string
	size int64
	mode fs.FileMode
}

func (i aheadInfo) Name() string       { return i.name }
func (i aheadInfo) Size() int64        { return i.size }
func (i aheadInfo) Mode() fs.FileMode  { return i.mode }
func (i aheadInfo) ModTime() time.Time { return time.Time{} }
func (i aheadInfo) IsDir() bool        { return i.mode.IsDir() }
func (i aheadInfo) Sys() any           { return nil }
