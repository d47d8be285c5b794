package bolt

import (
	"errors"
	"maps"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"
)

// walks returns options under which n counts how often a data file is read through when it is opened.
func walks(n *int) Options {
	return Options{step: func(step string) {
		if step == "walk" {
			*n++
		}
	}}
}

func TestOpen_AfterACleanStopReadsNoTree(t *testing.T) {
	path := newPath(t)
	n := 0
	e := open(t, path, Options{})
	fill(t, e, "row", 3000)
	removeAll(t, e, "row", 1000)
	want := content(t, e)
	must(t, e.Close())
	for range 3 { // a stop without a write before it is as clean
		e = open(t, path, walks(&n))
		if !maps.Equal(content(t, e), want) {
			t.Error("the content differs")
		}
		must(t, e.Close())
	}
	if n != 0 {
		t.Errorf("the file was read through %d times", n)
	}
	must(t, Inspect(path))
}

func TestOpen_AfterAKillReadsTheTreeOnce(t *testing.T) {
	path := newPath(t)
	n := 0
	e := open(t, path, Options{})
	fill(t, e, "row", 3000)
	after := copyFolder(t, path)
	crashed := open(t, after, walks(&n))
	if !maps.Equal(content(t, crashed), content(t, e)) || n != 1 {
		t.Errorf("the file was read through %d times", n)
	}
}

// Free pages are known without a list in every commit: from the last stop, or from the tree.
func TestOpen_PutsFreePagesToUse(t *testing.T) {
	path := newPath(t)
	e := open(t, path, Options{})
	fill(t, e, "row", 20000)
	removeAll(t, e, "row", 15000)
	must(t, write(e, "a", "1"))
	after := copyFolder(t, path)
	must(t, e.Close())
	for how, path := range map[string]string{"stopped": path, "killed": after} {
		e := open(t, path, Options{})
		before, err := fileSize(e.file)
		must(t, err)
		fill(t, e, "new", 10000)
		size, err := fileSize(e.file)
		must(t, err)
		if size != before {
			t.Errorf("%s: the file grew from %d to %d bytes, though pages were free", how, before, size)
		}
		must(t, e.Close())
		must(t, Inspect(path))
	}
}

func TestOpen_TakesNoMarkThatDoesNotFit(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, path string){
		"another file in its place": func(t *testing.T, path string) {
			must(t, os.Rename(copyFolder(t, path), path))
		},
		"the same bytes written again": func(t *testing.T, path string) {
			data, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, data, 0o600))
		},
		"its time of change set back": func(t *testing.T, path string) {
			info, err := os.Stat(path)
			must(t, err)
			must(t, os.Chtimes(path, time.Time{}, info.ModTime()))
		},
		"the mark of an earlier stop": func(t *testing.T, path string) {
			mark, err := os.ReadFile(path + markSuffix)
			must(t, err)
			e := open(t, path, Options{})
			must(t, write(e, "another", "row"))
			must(t, e.Close())
			must(t, os.WriteFile(path+markSuffix, mark, 0o600))
		},
		"a mark that was cut": func(t *testing.T, path string) { must(t, os.Truncate(path+markSuffix, 20)) },
		"an empty mark":       func(t *testing.T, path string) { must(t, os.Truncate(path+markSuffix, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			n := 0
			e := open(t, path, Options{})
			fill(t, e, "row", 100)
			must(t, e.Close())
			change(t, path)
			must(t, open(t, path, walks(&n)).Close())
			if n != 1 {
				t.Errorf("the file was read through %d times", n)
			}
		})
	}
}

func TestOpen_HasNoMarkWhileTheFileIsOpen(t *testing.T) {
	path := newPath(t)
	must(t, open(t, path, Options{}).Close())
	open(t, path, Options{})
	if left := files(t, path); !slices.Equal(left, []string{"tutela.db", "tutela.db.lock"}) {
		t.Errorf("files: %v", left)
	}
}

func TestOpen_ReadsTheTreeWhenTheListOfFreePagesIsDamaged(t *testing.T) {
	path := newPath(t)
	e := open(t, path, Options{})
	fill(t, e, "row", 3000)
	removeAll(t, e, "row", 1000)
	must(t, e.Close())
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	_, s, err := markOf(f)
	must(t, err)
	_, err = f.WriteAt(make([]byte, pageSize), int64(s.Freelist())*pageSize)
	must(t, errors.Join(err, f.Close()))
	must(t, writeMark(path))
	if _, err := Open(t.Context(), path, Options{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("open: %v", err)
	}
}

// A stop whose list of free pages cannot be written is a stop all the same.
func TestClose_WithoutTheListLeavesNoMark(t *testing.T) {
	path := newPath(t)
	n := 0
	e := open(t, path, Options{})
	fill(t, e, "row", 100)
	want := content(t, e)
	readOnly(t, e)
	must(t, e.Close())
	e = open(t, path, walks(&n))
	if !maps.Equal(content(t, e), want) || n != 1 {
		t.Errorf("%d rows; the file was read through %d times", len(want), n)
	}
}

// readOnly makes all that the engine writes to its file fail.
func readOnly(t testing.TB, e *Engine) {
	t.Helper()
	f, err := os.Open(e.path)
	must(t, err)
	must(t, syscall.Dup3(int(f.Fd()), int(e.file.raw.Fd()), syscall.O_CLOEXEC))
	must(t, f.Close())
}
