//! A card that is not there: Mesa's RADV compiles for any card of its family on a device without hardware, and says what came out.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};

use ash::vk;
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, ShaderStage};

/// A kernel as SPIR-V, and what it binds.
pub struct Lowered {
    words: Vec<u32>,
    bindings: Vec<(u32, vk::DescriptorType)>,
    entry: CString,
}

/// As wgpu lowers it for a driver with `robustBufferAccess2`, which RADV has: indices into arrays of known size are clamped, those
/// into buffers are left to the hardware, loops are bounded, and workgroup memory is not zeroed, which the engine asks for.
pub fn lower(text: &str, entry: &str, constants: &[(String, f64)]) -> Lowered {
    let module = naga::front::wgsl::parse_str(text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(text)));
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module);
    let info = info.unwrap_or_else(|e| panic!("{}", e.emit_to_string(text)));
    let constants = constants.iter().cloned().collect();
    let stage = ShaderStage::Compute;
    let (module, info) =
        naga::back::pipeline_constants::process_overrides(&module, &info, Some((stage, entry)), &constants)
            .expect("constants that the text has");
    let options = spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
        bounds_check_policies: BoundsCheckPolicies {
            index: BoundsCheckPolicy::Restrict,
            buffer: BoundsCheckPolicy::Unchecked,
            image_load: BoundsCheckPolicy::Unchecked,
            binding_array: BoundsCheckPolicy::Unchecked,
        },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: true,
        ..Default::default()
    };
    let pipeline = spv::PipelineOptions { shader_stage: stage, entry_point: entry.to_owned() };
    let words = spv::write_vec(&module, &info, &options, Some(&pipeline)).expect("a module that validates");
    let globals = module.global_variables.iter();
    let bindings = globals.filter_map(|(_, global)| {
        let kind = match global.space {
            AddressSpace::Uniform => vk::DescriptorType::UNIFORM_BUFFER,
            AddressSpace::Storage { .. } => vk::DescriptorType::STORAGE_BUFFER,
            _ => return None,
        };
        Some((global.binding?.binding, kind))
    });
    Lowered { words, bindings: bindings.collect(), entry: CString::new(entry).expect("a name") }
}

/// What a driver says of a kernel that it has compiled.
pub struct Compiled {
    /// Statistics by name.
    pub statistics: BTreeMap<String, u64>,
    /// Texts by name.
    pub texts: BTreeMap<String, String>,
}

/// A driver for a card that the environment names.
pub struct Card {
    /// The driver's name and version.
    pub driver: String,
    device: ash::Device,
    executables: ash::khr::pipeline_executable_properties::Device,
    _instance: ash::Instance,
    _entry: ash::Entry,
}

// Each object is made with structures that live longer than the call, is used by the device that made it, and is destroyed once;
// one thread does it all.
#[allow(unsafe_code)]
impl Card {
    /// The first card that the loader finds.
    pub fn open() -> Result<Card, String> {
        let said = |error: vk::Result| error.to_string();
        unsafe {
            let entry = ash::Entry::load().map_err(|error| error.to_string())?;
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let create = vk::InstanceCreateInfo::default().application_info(&application);
            let instance = entry.create_instance(&create, None).map_err(said)?;
            let cards = instance.enumerate_physical_devices().map_err(said)?;
            let card = *cards.first().ok_or("the driver knows no such card")?;
            let mut driver = vk::PhysicalDeviceDriverProperties::default();
            let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
            instance.get_physical_device_properties2(card, &mut properties);
            let driver = format!("{} {}", text(&driver.driver_name), text(&driver.driver_info));
            let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&[1.0])];
            let extensions = [ash::khr::pipeline_executable_properties::NAME, ash::ext::robustness2::NAME];
            let extensions = extensions.map(CStr::as_ptr);
            // What wgpu enables of that which changes code.
            let features = vk::PhysicalDeviceFeatures::default().robust_buffer_access(true);
            let mut robust = vk::PhysicalDeviceRobustness2FeaturesEXT::default().robust_buffer_access2(true);
            let mut statistics =
                vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
            let mut memory = vk::PhysicalDeviceVulkan12Features::default().vulkan_memory_model(true);
            let mut newer =
                vk::PhysicalDeviceVulkan13Features::default().subgroup_size_control(true).maintenance4(true);
            let create = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&extensions)
                .enabled_features(&features)
                .push_next(&mut robust)
                .push_next(&mut statistics)
                .push_next(&mut memory)
                .push_next(&mut newer);
            let device = instance.create_device(card, &create, None).map_err(said)?;
            let executables = ash::khr::pipeline_executable_properties::Device::new(&instance, &device);
            Ok(Card { driver, device, executables, _instance: instance, _entry: entry })
        }
    }

    /// Compiles a kernel.
    pub fn compile(&self, kernel: &Lowered) -> Result<Compiled, vk::Result> {
        let device = &self.device;
        let bindings: Vec<_> = (kernel.bindings.iter())
            .map(|&(binding, kind)| {
                let one = vk::DescriptorSetLayoutBinding::default().binding(binding).descriptor_type(kind);
                one.descriptor_count(1).stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        unsafe {
            let module = vk::ShaderModuleCreateInfo::default().code(&kernel.words);
            let module = device.create_shader_module(&module, None)?;
            let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let sets = [device.create_descriptor_set_layout(&set, None)?];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = device.create_pipeline_layout(&layout, None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default().stage(vk::ShaderStageFlags::COMPUTE);
            let stage = stage.module(module).name(&kernel.entry);
            let flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let create = vk::ComputePipelineCreateInfo::default().flags(flags).stage(stage).layout(layout);
            let made = device.create_compute_pipelines(vk::PipelineCache::null(), &[create], None);
            let pipeline = made.map_err(|(_, error)| error)?[0];
            let compiled = self.compiled(pipeline);
            device.destroy_pipeline(pipeline, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(sets[0], None);
            device.destroy_shader_module(module, None);
            compiled
        }
    }

    unsafe fn compiled(&self, pipeline: vk::Pipeline) -> Result<Compiled, vk::Result> {
        let which = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        let statistics = unsafe { self.executables.get_pipeline_executable_statistics(&which)? };
        let value = |one: &vk::PipelineExecutableStatisticKHR| match one.format {
            vk::PipelineExecutableStatisticFormatKHR::UINT64 => unsafe { one.value.u64 },
            _ => 0,
        };
        let mut compiled = Compiled {
            statistics: statistics.iter().map(|one| (text(&one.name), value(one))).collect(),
            texts: BTreeMap::new(),
        };
        let ask = self.executables.fp().get_pipeline_executable_internal_representations_khr;
        let (device, mut count) = (self.device.handle(), 0);
        let all = unsafe {
            ask(device, &which, &mut count, std::ptr::null_mut()).result()?;
            let mut all = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
            ask(device, &which, &mut count, all.as_mut_ptr()).result()?;
            all
        };
        let mut rooms: Vec<Vec<u8>> = all.iter().map(|one| vec![0; one.data_size + 1]).collect();
        let mut all = all;
        for (one, room) in all.iter_mut().zip(&mut rooms) {
            one.p_data = room.as_mut_ptr().cast();
        }
        unsafe { ask(device, &which, &mut count, all.as_mut_ptr()).result()? };
        for (one, room) in all.iter().zip(&rooms) {
            let words = CStr::from_bytes_until_nul(room).expect("a byte is left for its end");
            compiled.texts.insert(text(&one.name), words.to_string_lossy().into_owned());
        }
        Ok(compiled)
    }
}

fn text(chars: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().map(|&char| char as u8).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
