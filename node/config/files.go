package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// InputFile is a file that the configuration says is to be read.
type InputFile struct {
	// Key is the path of the key that names it.
	Key string
	// Name is the file's name.
	Name string
}

// InputFiles lists the files that the configured command reads at its start.
func (c *Config) InputFiles() []InputFile {
	var files []InputFile
	add := func(key, name string) {
		if name != "" {
			files = append(files, InputFile{Key: key, Name: name})
		}
	}
	switch c.Command.Type {
	case CommandStart:
		for i, m := range c.Command.Start.Members {
			path := fmt.Sprintf("command.start.members[%d].", i)
			add(path+"certificate_file", m.CertificateFile)
			add(path+"encryption_public_key_file", m.EncryptionPublicKeyFile)
			add(path+"data_json_file", m.DataJSONFile)
		}
		for i, name := range c.Command.Start.ConstitutionFiles {
			add(fmt.Sprintf("command.start.constitution_files[%d]", i), name)
		}
	case CommandJoin:
		add("command.service_certificate_file", c.Command.ServiceCertificateFile)
	case CommandRecover:
		add("command.recover.previous_service_identity_file", c.Command.Recover.PreviousServiceIdentityFile)
	case CommandResume:
		add("chancery.key_file", c.Chancery.KeyFile)
	}
	add("node_data_json_file", c.NodeDataJSONFile)
	if c.Command.Type != CommandJoin {
		add("service_data_json_file", c.ServiceDataJSONFile)
	}
	return files
}

// CheckFiles opens every input file, and reports those that are missing, are
// directories or cannot be read, as an *InvalidError. Names are taken from dir, where
// the node is started; "" is the present directory.
func (c *Config) CheckFiles(dir string) error {
	var p problems
	for _, f := range c.InputFiles() {
		name := f.Name
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		if reason := unreadable(name); reason != "" {
			p.add(f.Key, "%s %s", f.Name, reason)
		}
	}
	return p.err()
}

// unreadable says why a file cannot be read, "" when it can.
func unreadable(name string) string {
	f, err := os.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist"
	case errors.Is(err, fs.ErrPermission):
		return "is not readable for this user"
	case err != nil:
		return fmt.Sprintf("cannot be opened: %v", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return fmt.Sprintf("cannot be read: %v", err)
	case info.IsDir():
		return "is a directory"
	}
	return ""
}
