package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/expunge-dev/expunge/internal/durable"
)

// What the system refuses to the files of this program, in words of people, and what they can do about it.

// causes are the system's reasons, and how they are said; %s is who runs this program.
var causes = []struct {
	errno syscall.Errno
	words string
}{
	{syscall.EACCES, "not permitted to %s"},
	{syscall.EPERM, "not permitted to %s"},
	{syscall.ENOSPC, "no room is left there"},
	{syscall.EDQUOT, "the quota there is used up"},
	{syscall.EROFS, "nothing can be written there: the file system is read-only"},
	{syscall.ENOENT, "it is not there"},
	{syscall.ENOTDIR, "a file is where a directory should be"},
}

// environmental says whether the system refused it, and no other command line of this user would change that.
func environmental(err error) bool {
	for _, c := range []error{fs.ErrPermission, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS} {
		if errors.Is(err, c) {
			return true
		}
	}
	return false
}

// reworded is an error in other words.
type reworded struct {
	words string
	err   error
}

func (e *reworded) Error() string { return e.words }
func (e *reworded) Unwrap() error { return e.err }

// plainly is an error without the system's own words.
func plainly(err error) error {
	words := err.Error()
	for _, c := range causes {
		said := strings.ReplaceAll(c.words, "%s", userName(os.Geteuid()))
		words = strings.ReplaceAll(words, c.errno.Error(), said)
	}
	return &reworded{words, err}
}

// before marks an error that came before the command touched a drive.
func before(err error) error {
	if err == nil {
		return nil
	}
	return &beforeError{err}
}

type beforeError struct{ error }

func (e *beforeError) Unwrap() error { return e.error }

// untouched is said where nothing was, as far as this command goes.
const untouched = "no drive was touched by this command"

// explained says of what the system refused whose files they are, what can be done, and that nothing was touched where that is so.
func (a *app) explained(p *problem, err error) *problem {
	if p.system {
		told := *p
		told.err = plainly(p.err)
		if whose := a.whose(err); p.name == "permission" && whose != "" {
			told.hint = whose
		}
		p = &told
	}
	var early *beforeError
	if errors.As(err, &early) && (p.code == exitInternal || p.code == exitPermission) {
		told := *p
		told.hint = strings.TrimSuffix(untouched+"\n"+p.hint, "\n")
		p = &told
	}
	return p
}

// whose says whose files keep this user out, and what can be done about that; it is empty where that cannot be told.
func (a *app) whose(err error) string {
	me := os.Geteuid()
	if me == 0 {
		return ""
	}
	dirs := []string{}
	if a.rack != "" {
		dirs = append(dirs, a.rack)
	}
	if state, err := a.stateDir(); err == nil {
		dirs = append(dirs, state)
	}
	refused := pathOf(err)
	for _, dir := range dirs {
		if refused != "" && !within(dir, refused) {
			continue
		}
		if name, owner, is := foreign(dir, me); is {
			place := "a --state DIR"
			if dir == a.rack {
				place = "a rack"
			}
			return advice(name, owner, dir, place, me)
		}
	}
	for at := refused; at != ""; at = filepath.Dir(at) {
		if owner, is := ownerOf(at); is {
			if owner == me {
				return ""
			}
			place := "a place"
			if state, err := a.stateDir(); err == nil && a.rack == "" && within(state, refused) {
				place = "a --state DIR"
			}
			return advice(at, owner, at, place, me)
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	return ""
}

// advice is what can be done about files of somebody else below dir. They are to be given away only where they are in what is this
// user's: the state of a host belongs to root, and stays so. Elsewhere the user takes another place.
func advice(name string, owner int, dir, place string, me int) string {
	who := fmt.Sprintf("%s belongs to %s, and this is %s", quote(name), userName(owner), userName(me))
	for _, at := range []string{dir, filepath.Dir(dir)} {
		if its, is := ownerOf(at); is && its == me {
			return fmt.Sprintf("%s: somebody ran this as %s there\nrun it so again (sudo), or have the files given back: sudo chown -R %s %s", who, userName(owner), userName(me), quote(dir))
		}
	}
	return fmt.Sprintf("%s: run as %s, or choose %s of your own", who, userName(owner), place)
}

// maxLooked is how many files are looked at for their owner.
const maxLooked = 1 << 14

// foreign finds a file below a directory, or the directory, that belongs to somebody else than me.
func foreign(dir string, me int) (name string, owner int, found bool) {
	looked := 0
	// What cannot be listed was looked at before: it belongs to somebody else.
	_ = filepath.WalkDir(dir, func(at string, _ fs.DirEntry, err error) error {
		if looked++; looked > maxLooked {
			return fs.SkipAll
		}
		if its, is := ownerOf(at); is && its != me {
			name, owner, found = at, its, true
			return fs.SkipAll
		}
		if err != nil {
			return fs.SkipDir
		}
		return nil
	})
	return name, owner, found
}

// ownerOf is the number of the user to whom a file belongs.
func ownerOf(name string) (int, bool) {
	info, err := os.Lstat(name)
	if err != nil {
		return 0, false
	}
	s, is := info.Sys().(*syscall.Stat_t)
	if !is {
		return 0, false
	}
	return int(s.Uid), true
}

// userName is how a host calls the user of a number.
func userName(uid int) string {
	if u, err := user.LookupId(fmt.Sprint(uid)); err == nil {
		return u.Username
	}
	if uid == 0 {
		return "root"
	}
	return fmt.Sprintf("user %d", uid)
}

// pathOf is the file that an error is about.
func pathOf(err error) string {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Path
	case errors.As(err, &link):
		return link.New
	}
	return ""
}

// within says whether a file is below a directory, or the directory.
func within(dir, name string) bool {
	dir, err := filepath.Abs(dir)
	name, failed := filepath.Abs(name)
	rel, other := filepath.Rel(dir, name)
	return err == nil && failed == nil && other == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// createFile makes a file that a person named, which must not be there yet.
func createFile(name string, data []byte, perm fs.FileMode) error {
	if err := fresh(name); err != nil {
		return err
	}
	target, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	return outputProblem(name, durable.CreateFile(target, data, perm))
}

// outputProblem says why what a person wants to have in a file cannot be had there.
func outputProblem(name string, err error) error {
	if err == nil {
		return nil
	}
	why := err
	var errno syscall.Errno
	if errors.As(err, &errno) {
		why = errno
	}
	said := &reworded{fmt.Sprintf("%s was not written: %v", name, plainly(why)), err}
	dir := filepath.Dir(name)
	switch {
	case errors.Is(err, fs.ErrExist):
		return usage("choose another name, or remove it first", fmt.Errorf("%s is there already", name))
	case errors.Is(err, fs.ErrNotExist):
		return usage("make the directory first (mkdir -p "+quote(dir)+"), or choose another", fmt.Errorf("%s was not written: there is no directory %s", name, dir))
	case errors.Is(err, syscall.ENOTDIR):
		return usage("choose another name", said)
	case environmental(err):
		p := problemOf(err)
		p.err, p.hint = said, "choose another place for it"
		return p
	}
	return err
}

// unread is why a file that a person named could not be read.
func unread(name string, err error) error {
	var path *fs.PathError
	why := err
	if errors.As(err, &path) {
		why = path.Err
	}
	return &reworded{fmt.Sprintf("%s cannot be read: %v", name, plainly(why)), err}
}
