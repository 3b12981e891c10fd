# What `cmake --install` lays down: a folder that can be moved. With LONGSPAN_BUNDLE it also holds the shared libraries,
# but for the C and C++ run time and the CUDA driver, which belong to the machine.
include(GNUInstallDirs)

function(longspan_install)
  if(TARGET longspan)
    install(TARGETS longspan RUNTIME DESTINATION bin COMPONENT longspan_program)
  endif()
  if(EXISTS "${PROJECT_SOURCE_DIR}/configs")
    install(DIRECTORY configs DESTINATION share/longspan COMPONENT longspan_program)
  endif()
  install(FILES LICENSE README.md DESTINATION share/doc/longspan)
  if(LONGSPAN_BUNDLE)
    install(SCRIPT "${PROJECT_SOURCE_DIR}/cmake/BundleLibraries.cmake")
  endif()
endfunction()
