# bash completion for xzfsctl. It takes commands and options from the help.

# The words that help lists for options, one option a line: "-v,--verbose", "--check NAME".
_xzfsctl_help() {
  "$1" "$2" --help 2>/dev/null | sed -n '/-0 to -9/i -0,-1,-2,-3,-4,-5,-6,-7,-8,-9
    s/^  \(-.*\)$/\1/p'
}

# The values of an option, if help names them: "--progress auto|always|never".
_xzfsctl_values() {
  local names value rest
  while read -r names value rest; do
    if [[ ,$names, == *,$3,* && $value == *'|'* ]]; then
      echo "${value//|/ }"
    fi
  done < <(_xzfsctl_help "$1" "$2")
}

_xzfsctl_mounts() {
  local device path type rest
  while read -r device path type rest; do
    [[ $type != fuse.xzfs ]] || printf '%b\n' "$path"
  done </proc/self/mounts
}

_xzfsctl() {
  local current=$2 before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} values
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    values=$("$1" --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p')
    mapfile -t COMPREPLY < <(compgen -W "$values help --help --version" -- "$current")
    return
  fi
  # bash splits words at '='.
  if [[ ${COMP_WORDS[COMP_CWORD]} == '=' ]]; then
    current=''
  elif [[ $before == '=' ]]; then
    before=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  if [[ $command == help ]]; then
    values=$("$1" --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p')
  else
    values=$(_xzfsctl_values "$1" "$command" "$before")
  fi
  if [[ -n $values ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current")
  elif [[ $current == -* ]]; then
    values=$(_xzfsctl_help "$1" "$command" | sed 's/ .*//; s/,/ /g')
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current")
  else
    compopt -o filenames 2>/dev/null
    case $command in
      stats | top | set | sync | drop-cache | umount)
        mapfile -t COMPREPLY < <(compgen -W "$(_xzfsctl_mounts)" -- "$current")
        ;;
    esac
    ((${#COMPREPLY[@]})) || mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}

complete -F _xzfsctl xzfsctl
