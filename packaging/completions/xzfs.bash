# bash completion for xzfs and xzfsctl. The programs say what may follow: PROGRAM --complete WORD...

_xzfs_complete() {
  local rest=${COMP_LINE:0:COMP_POINT} i word words=()
  # readline splits words at '=' and ':', too. Those that have no blank between them are one.
  for ((i = 0; i <= COMP_CWORD; ++i)); do
    if ((i == 0)) || [[ $rest == [[:space:]]* ]]; then
      words+=('')
      rest=${rest#"${rest%%[![:space:]]*}"}
    fi
    word=${COMP_WORDS[i]}
    ((i < COMP_CWORD)) || word=$rest # as far as the cursor
    words[-1]+=$word
    rest=${rest#"$word"}
  done

  # What readline replaces begins after the last '=' or ':' of the word.
  local fixed=${words[-1]%"$2"} kept paths on text help
  COMPREPLY=()
  {
    read -r kept
    read -r paths on
    while IFS=$'\t' read -r text help; do
      text=$kept$text
      if [[ $text == "${words[-1]}"* ]]; then
        COMPREPLY+=("${text#"$fixed"}")
      fi
    done
  } < <("$1" --complete "${words[@]:1}" 2>/dev/null)

  if [[ ${COMPREPLY[0]} == *= || $on == on ]]; then
    compopt -o nospace 2>/dev/null
  elif [[ ${COMPREPLY[0]} == /* ]]; then
    compopt -o filenames 2>/dev/null
  fi
  case $paths in
    files) i=f ;;
    directories) i=d ;;
    *) return ;;
  esac
  compopt -o filenames 2>/dev/null
  mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -$i -- "$2")
}

complete -F _xzfs_complete xzfs xzfsctl mount.xzfs mount.fuse.xzfs
