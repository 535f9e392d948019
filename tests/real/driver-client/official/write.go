// Package official writes files as the official AWS provider 3.1.1 does.
package official

import (
	"errors"
	"os"
	"path/filepath"
)

// Write makes a temporary file beside the one it is for, and renames it onto that.
func Write(directory, name string, mode os.FileMode, content string) error {
	temporary, err := os.CreateTemp(directory, name)
	if err != nil {
		return err
	}
	_, written := temporary.WriteString(content)
	if err := errors.Join(temporary.Chmod(mode), written, temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), filepath.Join(directory, name))
}
