# bash completion for xzfs. It takes the options from `xzfs -h`.

_xzfs_values() {
  case $1 in
    verify) echo block stream ;;
    compress) echo close cold off ;;
    log_level) echo debug info warning error ;;
    check) echo none crc32 crc64 sha256 ;;
    preset) echo {0..9} {0..9}e ;;
  esac
}

# Completes the last item of a list of options. bash has split the word at each '=' already.
_xzfs_options() {
  local list=$1 item=${1##*,} known
  local word=${list##*=}
  if [[ $item == *=* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_xzfs_values "${item%%=*}")" -- "${item#*=}")
    return
  fi
  known=$("$2" -h 2>/dev/null | sed -n '1,/^Options:/d; /^ /!q; s/^  \([a-z_]\{1,\}=\{0,1\}\).*/\1/p')
  mapfile -t COMPREPLY < <(compgen -P "${word%"$item"}" -W "$known noacl rw noexec suid dev" -- "$item")
  compopt -o nospace 2>/dev/null
}

_xzfs() {
  local line=${COMP_LINE:0:COMP_POINT} current='' before words
  read -ra words <<<"$line"
  if [[ $line != *[[:space:]] ]]; then
    current=${words[-1]}
    unset 'words[-1]'
  fi
  before=${words[-1]:-}
  if [[ $before == -o ]]; then
    _xzfs_options "$current" "$1"
  elif [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "-f -d -s -o -h -V --help --version" -- "$current")
  else
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -d -- "$2")
  fi
}

complete -F _xzfs xzfs mount.xzfs mount.fuse.xzfs
