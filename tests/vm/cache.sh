# SPDX-License-Identifier: MIT
# Folders of the cache, for the scripts that make them, under a lock for each NAME: NAME-KEY is whole, and has .complete;
# whatever is called making-NAME.* belongs to a run that makes or removes it, and without one to nobody.

# An interrupted removal leaves nothing by the name of a whole one. discard NAME FOLDER
discard() {
  local old=$cache/making-$1.old.$$
  rm -rf --one-file-system "$old"
  mv -T "$2" "$old"
  rm -rf --one-file-system "$old"
}

# What interrupted runs left. sweep NAME
sweep() {
  rm -rf --one-file-system "$cache/making-$1".*
}

# Those of other keys are of other versions of the script; another clone may still be using its own. publish NAME MAKING FOLDER
publish() {
  local folder
  touch "$2/.complete"
  [[ ! -e $3 ]] || discard "$1" "$3"
  mv -T "$2" "$3"
  for folder in "$cache/$1"-*/; do
    folder=${folder%/}
    # Its age is that of its last use.
    [[ -e $folder/.complete && -z $(find "$folder/.complete" -mtime +7) ]] || discard "$1" "$folder"
  done
}
