package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"

	"tutela/server/operator"
	"tutela/storage"
)

// dataFlags are the flags of every command that works on an installation.
type dataFlags struct {
	Data          folder `default:"./data" env:"TUTELA_DATA" placeholder:"DIR" help:"Folder of the data file, the master key and the admin socket."`
	MasterKeyFile file   `env:"TUTELA_MASTER_KEY_FILE" placeholder:"FILE" help:"File of the master key, by default master.key in the data folder. TUTELA_MASTER_KEY (base64) goes before it."`
	Store         string `env:"TUTELA_STORE" placeholder:"URL" help:"A PostgreSQL database in the place of the data file: postgres://USER@HOST,HOST/NAME. Several servers may share it. The password: by TUTELA_STORE, PGPASSWORD or PGPASSFILE."`
}

// masterKeyVariable names the environment's variable that may hold the master key itself.
const masterKeyVariable = "TUTELA_MASTER_KEY"

// folder is a folder on the command line.
type folder struct {
	path  string // from the root
	typed string // as the operator wrote it, for messages
}

// UnmarshalText takes a folder as it was typed; ~ is the home folder.
func (f *folder) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("it names no folder")
	}
	*f = folder{path: kong.ExpandPath(string(text)), typed: string(text)}
	return nil
}

func (f folder) String() string { return f.typed }

func (f dataFlags) file() string { return filepath.Join(f.Data.path, "tutela.db") }

func (f dataFlags) socket() string { return filepath.Join(f.Data.path, "admin.sock") }

func (f dataFlags) pushFolder() string { return filepath.Join(f.Data.path, "push") }

// masterKeyFile returns the path of the file with the master key. It is not read when the environment holds the key.
func (f dataFlags) masterKeyFile() string {
	return cmp.Or(string(f.MasterKeyFile), filepath.Join(f.Data.path, "master.key"))
}

// masterKeyPlace names where the master key comes from, for messages: the environment variable or the file.
func (f dataFlags) masterKeyPlace() string {
	if os.Getenv(masterKeyVariable) != "" {
		return masterKeyVariable
	}
	return f.masterKeyFile()
}

// makeFolder makes the data folder when there is none. An existing folder must pass operator.CheckFolder.
func (f dataFlags) makeFolder() error {
	if err := operator.CheckFolder(f.Data.path); err != nil {
		return err
	}
	if err := os.MkdirAll(f.Data.path, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	return nil
}

// hasDataFile reports whether the folder may hold an installation. It also reports true when it cannot look: whoever
// opens the file then gets the reason.
func (f dataFlags) hasDataFile() bool {
	_, err := os.Stat(f.file())
	return !errors.Is(err, fs.ErrNotExist)
}

// hasMasterKey reports whether there is a master key, even one without data that it opens.
func (f dataFlags) hasMasterKey() bool {
	if os.Getenv(masterKeyVariable) != "" {
		return true
	}
	_, err := os.Lstat(f.masterKeyFile())
	return !errors.Is(err, fs.ErrNotExist)
}

// errNoInstallation reports a data folder without a data file.
var errNoInstallation = storage.NewError(storage.NotFound, "there is no installation")

// noInstallation returns errNoInstallation in one line, with the way out. Only a server may begin an installation: a
// command with a mistyped --data would otherwise work on an empty one, and say that all is well.
func (f dataFlags) noInstallation() error {
	if f.hasMasterKey() {
		return errNoInstallation.With("there is a master key (%s) and no data file in %s: "+
			"give the right folder by --data, see that its disk is mounted, or bring the data back with tutela restore-db", f.masterKeyPlace(), f.Data)
	}
	return errNoInstallation.With("there is no installation in %s: give its folder by --data, or begin one with tutela serve --data %s",
		f.Data, shellWord(f.Data.typed))
}

// mayBegin reports whether a server may begin an installation here. A master key without a data file is refused: the
// data is likely missing, as on a disk that is not mounted. A folder with files of others is refused: it is likely
// the wrong folder.
//
// Errors: errNoInstallation, with the way out; those of the file system.
func (f dataFlags) mayBegin() error {
	if f.hasMasterKey() {
		return errNoInstallation.With("there is a master key (%s) and no data file in %s: "+
			"see that the right disk is mounted, bring the data back with tutela restore-db, or begin a new installation with --init", f.masterKeyPlace(), f.Data)
	}
	entries, err := os.ReadDir(f.Data.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look into the data folder: %w", err)
	}
	for _, e := range entries {
		if !operator.IsRemnant(e.Name()) {
			return errNoInstallation.With("%s holds %s and no installation: give an empty folder by --data, or begin a new installation in this one with --init",
				f.Data, plain(e.Name()))
		}
	}
	return nil
}
