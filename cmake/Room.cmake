# longspan_room(NAME SOURCES … USES …): one static library a room, target longspan_NAME. USES names rooms below it and
# libraries; scripts/check_layers.py holds the order.
function(longspan_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;USES;PRIVATE_USES" ${ARGN})
  add_library(longspan_${name} STATIC ${ROOM_SOURCES})
  target_link_libraries(longspan_${name} PUBLIC longspan_settings ${ROOM_USES} PRIVATE ${ROOM_PRIVATE_USES})
endfunction()
